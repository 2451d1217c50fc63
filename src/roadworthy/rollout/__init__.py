"""Bringing a version on the road: stage it, verify it with real requests, promote it."""
