"""Rollouts to KServe."""
