"""The bundle: what training hands to serving. Build it, read it, run it, store it, release it."""
