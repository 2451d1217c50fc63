"""KFP components: a signature and a few lines that call a step of ``roadworthy``."""

IMAGE = "roadworthy/pipeline:python3.11"
"""The image that the steps run in on a cluster."""
