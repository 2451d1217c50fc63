"""The KServe model server: answers from bundles, strict about what it is asked.

Read :mod:`roadworthy.serving.process.server` for how it starts,
:mod:`roadworthy.serving.http.front` for the way of a request, and
:mod:`roadworthy.serving.models.model_store` for how a new version comes in.
"""
