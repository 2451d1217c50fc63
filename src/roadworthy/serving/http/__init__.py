"""The protocols of the model server, their limits, and its page."""
