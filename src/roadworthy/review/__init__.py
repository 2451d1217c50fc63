"""Versions looked at: compare, preview a candidate, reproduce, lineage."""
