"""Start a new model: package, notebook, data under DVC and compiled pipeline."""

from roadworthy.scaffolding.table import Roles
from roadworthy.scaffolding.writing import Scaffold, ScaffoldError, scaffold

__all__ = ["Roles", "Scaffold", "ScaffoldError", "scaffold"]
