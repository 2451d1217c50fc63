"""The versions that a model server has loaded, their traffic and their metrics."""
