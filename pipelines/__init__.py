"""The production pipeline, its compiler, and the compiled YAML that is submitted."""

import roadworthy.rollout.kserve.lean_kubernetes  # noqa: F401 - before kfp, which imports kubernetes
