"""Whoever uses Kubernetes' client does not wait for a validator; who wants that one has it."""

import pytest

from tests.loading import loaded_by


@pytest.mark.parametrize("module", ["roadworthy.rollout.kserve.cluster", "pipelines.compiler"])
def test_the_validator_is_not_loaded_beside_the_client(module):
    found = loaded_by(f"import {module}\n")

    assert "kubernetes" in found
    assert not {"kubernetes_validate", "jsonschema"} & found
