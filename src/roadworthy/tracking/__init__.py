"""What is known of runs and versions: the MLflow registry, the records of runs, their report."""
