"""Imports the client of Kubernetes without the validator that it looks for.

It imports kubernetes_validate where that is installed, as it is for the tests: the grammar of its
schemas takes three seconds to build, and nobody here asks for it. To be imported before kubernetes.
"""

import sys

if not {"kubernetes", "kubernetes_validate"} & sys.modules.keys():
    sys.modules["kubernetes_validate"] = None  # type: ignore[assignment]
    import kubernetes  # noqa: F401 - to be there when somebody asks for it

    del sys.modules["kubernetes_validate"]
