"""Runs on Kubeflow Pipelines: submitted, followed, scheduled and listed over its API.

Nothing here compiles a pipeline: that is done by a program of its own, of the commit that is run.
"""
