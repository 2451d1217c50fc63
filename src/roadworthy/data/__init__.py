"""Versioned data: Git checkout, DVC pull and push, validation."""
