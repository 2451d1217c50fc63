"""KServe's model server without the rest of KServe.

To import the package ``kserve`` is to load a client of the Kubernetes API, a class for each of its
some hundred resources, and pandas: half of what a server would hold and half of its start, and a
server uses none of it. :func:`load` imports the model server alone:

- The package is a stand-in that finds the modules of the real one, and knows which of them has a
  name of :data:`NAMES`. Any other name makes it run the package's real ``__init__``, in itself.
- pandas, which two modules import for a function each, is imported on its first use.

All else is KServe's own code, unchanged. Whoever imports ``kserve`` without calling :func:`load`
first gets it as it is.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader
from types import MappingProxyType, ModuleType
from typing import Any

from roadworthy.core.errors import RoadworthyError

NAMES = MappingProxyType(
    {
        "InferInput": "kserve.protocol.infer_type",
        "InferOutput": "kserve.protocol.infer_type",
        "InferRequest": "kserve.protocol.infer_type",
        "InferResponse": "kserve.protocol.infer_type",
        "InferenceGRPCClient": "kserve.inference_client",
        "InferenceRESTClient": "kserve.inference_client",
        "Model": "kserve.model",
        "ModelRepository": "kserve.model_repository",
        "ModelServer": "kserve.model_server",
        "PredictorConfig": "kserve.predictor_config",
        "RESTConfig": "kserve.inference_client",
    }
)
"""What the package offers to a server, and the module it is in."""

_SERVER = "kserve.model_server"
_PANDAS, _ANNOTATED = "pandas", "DataFrame"


class LeanError(RoadworthyError):
    """KServe is not laid out as this module knows it."""


def load() -> None:
    """Import KServe's model server, and of the rest what it needs.

    Does nothing where the package is imported already.

    Raises
    ------
    LeanError
        There is no KServe, or it is another one than this module knows.
    """
    if "kserve" in sys.modules:
        return
    found = importlib.util.find_spec("kserve")
    if found is None or found.loader is None:
        raise LeanError("KServe is not installed. Install the packages of this project.")
    package = importlib.util.module_from_spec(found)
    package.__class__ = _Package
    sys.modules["kserve"] = package
    with _without_collector(), _put_off(_PANDAS):
        try:
            importlib.import_module(_SERVER)
            for name in NAMES:
                getattr(package, name)
        except (ImportError, AttributeError) as error:
            del sys.modules["kserve"]
            raise LeanError(
                f"KServe is not laid out as roadworthy.serving.process.lean knows it ({error}). "
                f"Install the version of KServe that this project names."
            ) from error


class _Package(ModuleType):
    """The package ``kserve``, whose ``__init__`` runs when a name is asked for that needs it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name in NAMES:
            found = getattr(importlib.import_module(NAMES[name]), name)
            setattr(self, name, found)
            return found
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        with _INITIALISING:
            if self.__class__ is _Package:
                self.__class__ = ModuleType  # type: ignore[assignment]
                assert isinstance(self.__loader__, Loader)  # noqa: S101 - see where it is made
                self.__loader__.exec_module(self)
        return getattr(self, name)


_INITIALISING = threading.RLock()


class _Later(ModuleType):
    """A module that is imported when it is first used.

    While the modules that import it are themselves imported, it gives the one class they name in
    annotations, without a use.
    """

    annotates = True

    def __getattr__(self, name: str) -> Any:
        if self.annotates and name == _ANNOTATED:
            return type(name, (), {"__module__": self.__name__})
        if self.annotates:  # then `sys.modules` has this stand-in
            del sys.modules[self.__name__]
            self.annotates = False
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _put_off(name: str) -> Iterator[None]:
    """Give a stand-in for a module to those that import it within this block."""
    if name in sys.modules:
        yield
        return
    later = sys.modules[name] = _Later(name)
    try:
        yield
    finally:
        later.annotates = False
        if sys.modules.get(name) is later:
            del sys.modules[name]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Leave the garbage collector out while modules are loaded, and them out of it afterwards."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
