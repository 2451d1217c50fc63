"""The rollout engine: states, canary analysis and driver, for any target."""
