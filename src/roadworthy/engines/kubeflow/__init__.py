"""Pipelines on Kubeflow: runs are submitted, followed, scheduled and listed over its API."""
