"""Start a new model: package, notebook, data under DVC and compiled pipeline."""

from roadworthy.scaffolding.writing import Scaffold, ScaffoldError, scaffold

__all__ = ["Scaffold", "ScaffoldError", "scaffold"]
