"""What runs a pipeline: this machine or Kubeflow."""
