"""Import the client of Kubernetes without its optional validator.

The client imports kubernetes_validate where that is installed, as it is for the tests, which takes
three seconds and is not used here. Import this module before kubernetes.
"""

import sys

if not {"kubernetes", "kubernetes_validate"} & sys.modules.keys():
    sys.modules["kubernetes_validate"] = None  # type: ignore[assignment]
    import kubernetes  # noqa: F401 - for later imports

    del sys.modules["kubernetes_validate"]
