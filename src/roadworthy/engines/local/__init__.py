"""Pipeline runs on this machine."""
