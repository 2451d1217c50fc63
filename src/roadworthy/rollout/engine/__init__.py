"""A rollout without a place: its states, its canary analysis, its driver."""
