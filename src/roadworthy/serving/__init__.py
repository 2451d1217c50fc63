"""The KServe model server: answers from bundles, strict about what it is asked.

Read :mod:`roadworthy.serving.server` for how it starts, :mod:`roadworthy.serving.front` for the
way of a request, :mod:`roadworthy.serving.fleet` for how a new version comes in.
"""
