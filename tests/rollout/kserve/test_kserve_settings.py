"""A variable that cannot be used is named in a sentence, whoever reads it."""

import pytest

from roadworthy.core.environment import SettingsError
from roadworthy.rollout.kserve import kserve_settings


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MAX_REPLICAS", "many", "ROADWORTHY_KSERVE_MAX_REPLICAS is 'many': .*integer"),
        ("MAX_REPLICAS", "1", "max_replicas is less than min_replicas"),
    ],
    ids=["one field", "two fields"],
)
def test_what_cannot_be_used_is_told(monkeypatch, variable, value, told):
    monkeypatch.setenv(f"ROADWORTHY_KSERVE_{variable}", value)

    with pytest.raises(SettingsError, match=told):
        kserve_settings.from_environment()
