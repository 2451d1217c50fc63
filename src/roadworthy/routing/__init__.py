"""Which version of a model gets which traffic: the state that servers read."""
