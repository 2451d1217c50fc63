"""The production pipeline, its compiler, and the compiled YAML that is submitted."""

import sys

# kfp imports kubernetes, and that kubernetes_validate where it is installed, as for the tests: the
# grammar of its schemas takes three seconds to build, and nobody here asks for it.
if not {"kubernetes", "kubernetes_validate"} & sys.modules.keys():
    sys.modules["kubernetes_validate"] = None  # type: ignore[assignment]
    import kubernetes  # noqa: F401 - to be there when kfp asks for it

    del sys.modules["kubernetes_validate"]
