"""The processes of a model server."""
