"""The KServe model server, which answers from bundles and validates every request.

Read :mod:`roadworthy.serving.process.server` for how it starts,
:mod:`roadworthy.serving.http.model_routes` for how it answers, and
:mod:`roadworthy.serving.models.model_store` for how it loads a new version.
"""
