"""The data science: one package per model, which knows no KFP, KServe, MLflow or DVC."""
