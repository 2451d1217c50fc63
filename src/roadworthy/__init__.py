"""Roadworthy takes a model from a notebook to production and keeps it there."""

__version__ = "0.1.0"
