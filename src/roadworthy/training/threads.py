"""As many threads for linear algebra as there are processors for this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from threadpoolctl import threadpool_limits

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the threads of BLAS and OpenMP, here and in processes that are started meanwhile.

    Their default is a thread for each processor of the machine, although a container may use only a
    few of them. A user's own setting of one of the variables is left as it is.
    """
    if any(name in os.environ for name in _VARIABLES):
        yield
        return
    processors = joblib.cpu_count()  # of the affinity and the control group
    os.environ.update(dict.fromkeys(_VARIABLES, str(processors)))
    try:
        with threadpool_limits(processors):
            yield
    finally:
        for name in _VARIABLES:
            del os.environ[name]
