"""KFP components: a signature and a few lines that call a step of ``roadworthy``.

A record is that of ``run``, or where nobody chose that id, of ``job``: the engine's own.
"""

import roadworthy.rollout.kserve.lean_kubernetes  # noqa: F401 - before kfp, which imports kubernetes
from roadworthy.engines.kubeflow.image import NULL_IMAGE as IMAGE

__all__ = ["IMAGE"]
