"""Rollouts to the model server of this machine."""
