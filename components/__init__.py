"""KFP components: a signature and a few lines that call a step of ``roadworthy``.

A component takes what its result depends on. Which run it is part of is no input but a setting,
so that an engine can use the result of a pure step again.
"""

import roadworthy.rollout.kserve.lean_kubernetes  # noqa: F401 - before kfp, which imports kubernetes
from roadworthy.engines.kubeflow.image import NULL_IMAGE as IMAGE

__all__ = ["IMAGE"]
