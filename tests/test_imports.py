"""Nothing outside a model's package imports it; the layers are checked by `make lint`."""

import grimp
import pytest

from roadworthy.models import contract


@pytest.mark.parametrize("model", contract.available())
def test_a_model_is_reached_through_the_contract_only(model):
    # given every import of the project
    graph = grimp.build_graph("roadworthy", "components", "pipelines")
    package = f"roadworthy.models.{model}"
    modules = {package, *graph.find_descendants(package)}

    # when those of the model's modules are looked for outside of it
    importers = set().union(*map(graph.find_modules_that_directly_import, modules)) - modules

    # then there are none
    assert not importers
