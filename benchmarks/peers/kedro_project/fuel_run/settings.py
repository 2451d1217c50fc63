"""The project's settings: one folder of configuration, without environments."""

CONFIG_LOADER_ARGS = {"base_env": "", "default_run_env": ""}
