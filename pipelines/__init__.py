"""The production pipeline, its compiler, and the compiled YAML that is submitted."""
