"""A bundle is complete, readable, and the same byte for byte wherever it is made."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from roadworthy.bundles import bundle, packing
from roadworthy.bundles.packing import PackingError, distribution
from roadworthy.bundles.scoring import Scorer
from roadworthy.models import fuel, tensors
from roadworthy.models.contract import Split
from roadworthy.models.fuel.table import COLUMNS

REQUIRED = {"weight_kg", "year"}


def test_the_same_inputs_give_the_same_bundle_in_another_directory_and_after_parquet(
    packed, fitted, halves, pack, tmp_path
):
    parts = {}
    for name, part in halves._asdict().items():
        part.to_parquet(tmp_path / name, index=False)
        parts[name] = pd.read_parquet(tmp_path / name)
    estimator = fuel.train(fitted.candidate, parts["train"])

    again = pack(
        tmp_path / "deep" / "er", fitted.candidate, estimator, fitted.metrics, Split(**parts)
    )

    assert again.manifest == packed.manifest
    assert again.digest == packed.digest


def test_whatever_the_bundle_was_made_of_changes_its_digest(fitted, pack, packed, tmp_path):
    metrics = fitted.metrics | {"cv_r2": 0.5}

    assert pack(tmp_path / "b", fitted.candidate, fitted.estimator, metrics).digest != packed.digest


def test_the_manifest_is_complete(packed, fitted):
    manifest = packed.manifest

    assert (manifest.model, manifest.commit) == ("fuel", "4f0c" * 10)
    assert manifest.data_hash == "a304afb96060aad90176268345e10355"
    assert manifest.candidate == fitted.candidate.name
    assert dict(manifest.parameters) == dict(fitted.candidate.parameters)
    assert {"cv_r2", "r2", "mae_mpg", "coverage"} <= set(manifest.metrics)
    assert set(manifest.packages) == set(packing.PACKAGES)
    assert manifest.request["properties"]["weight_kg"]["unit"] == "kg"
    assert manifest.answer["properties"]["l_per_100km"]["unit"] == "l/100 km"
    assert {bundle.MODEL, bundle.ESTIMATOR, bundle.GOLDEN, bundle.PROFILE, bundle.CARD} < set(
        manifest.files
    )
    assert {"figures/residuals.png", "figures/actual-against-predicted.png"} < set(manifest.files)


def test_golden_requests_are_valid_and_a_third_says_only_what_it_must(packed):
    requests = packed.golden.requests

    assert len(requests) == len(packed.golden.answers) == packing.GOLDEN_ROWS
    for request in requests:
        fuel.Request.model_validate(request, strict=True)
    assert sum(set(request) == REQUIRED for request in requests) in (6, 7)
    assert all(set(request) >= REQUIRED for request in requests)
    assert {request["origin"] for request in requests if "origin" in request} == {
        "usa",
        "europe",
        "japan",
    }


def test_golden_answers_are_the_estimators_and_the_graphs(packed, fitted):
    scorer = Scorer(packed.graph)
    columns = tensors.columns(tensors.parse(packed.manifest.request), packed.golden.requests)
    expected = pd.DataFrame(packed.golden.answers)

    estimated = fitted.estimator.predict(pd.DataFrame(columns))
    scored = scorer.score(columns)

    for name in expected:
        np.testing.assert_array_equal(estimated[name], expected[name])
        np.testing.assert_allclose(scored[name], expected[name], rtol=1e-5)


def test_rows_out_of_bounds_are_no_golden_requests(fitted, halves):
    inputs = halves.test[list(COLUMNS)].head(6).copy()
    inputs.loc[0, "weight_kg"] = 9000.0
    inputs.loc[1, "year"] = math.nan
    inputs.loc[2, "cylinders"] = 9.0
    inputs.loc[3, "origin"] = "mars"

    assert len(packing.golden(fuel, fitted.estimator, inputs).requests) == 2

    with pytest.raises(PackingError, match="None of the 1 rows of the hold-out is a valid request"):
        packing.golden(fuel, fitted.estimator, inputs.iloc[:1])


def test_a_request_without_bounds_is_packed_too():
    class Request(BaseModel):
        size: float
        word: str = ""

    estimator = SimpleNamespace(predict=lambda rows: pd.DataFrame({"twice": rows["size"] * 2}))
    rows = pd.DataFrame({"size": [1.0, 2.0], "word": ["a", ""]})

    golden = packing.golden(SimpleNamespace(name="toy", Request=Request), estimator, rows)

    assert golden.requests == [{"size": 1.0, "word": "a"}, {"size": 2.0}]
    assert golden.answers == [{"twice": 2.0}, {"twice": 4.0}]


def test_the_profile_holds_every_feature_target_prediction_and_the_page(packed, cars):
    profile = packed.profile

    assert profile["rows"] == len(cars) == 398
    assert set(profile["features"]) == set(COLUMNS)
    assert set(profile["target"]) == {"mpg"}
    assert set(profile["prediction"]) == set(fuel.Answer.model_fields)
    assert {len(column) for column in profile["page"]["figure"]["points"].values()} == {398}
    assert profile["features"]["horsepower"]["missing"] == 6
    assert sum(profile["features"]["horsepower"]["counts"]) == 392
    assert sum(profile["features"]["origin"]["shares"].values()) == pytest.approx(1)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf), max_size=50))
def test_a_distribution_counts_every_value_once_and_is_json(values):
    found = distribution(pd.Series(values, dtype=float))

    known = [value for value in values if math.isfinite(value)]
    assert sum(found["counts"]) == len(known)
    assert found["missing"] == len(values) - len(known)
    assert bundle.encode(found)
    if known:
        assert len(found["edges"]) == len(found["counts"]) + 1
        assert found["edges"][0] <= min(known)
        assert found["edges"][-1] >= max(known)
        assert found["quantiles"] == sorted(found["quantiles"])


@given(st.lists(st.sampled_from(["usa", "japan", "", "é"]), min_size=1, max_size=30))
def test_the_shares_of_words_do_not_depend_on_their_order(words):
    found = distribution(pd.Series(words, dtype=object))

    assert found == distribution(pd.Series(words[::-1], dtype=object))
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert set(found["shares"]) == set(words)


def test_the_card_is_text_that_a_person_reads(packed, halves):
    card = (packed.path / bundle.CARD).read_text()
    lines = card.splitlines()

    assert lines[0] == f"# Fuel consumption of a car: {packed.manifest.candidate}"
    trained, held_out = len(halves.train), len(halves.test)
    assert f"Trained on {trained} rows, evaluated on {held_out} that it never saw." in lines
    for heading in ("## Metrics", "## By slice", "## Behaviour", "## Request"):
        assert heading in lines
    assert "| weight_kg | kg | 700 to 2400 | yes |" in lines
    assert "| origin | region | one of usa, europe, japan | no |" in lines
    assert any(line.startswith("| origin=japan |") for line in lines)
    for name in packed.figures:
        assert f"![{name}](figures/{name}.png)" in lines
    tables = [line for line in lines if line.startswith("|")]
    headers = [index for index, line in enumerate(tables) if line.startswith("| ---")]
    assert len(headers) == 4
    for start, end in zip(headers, [*headers[1:], len(tables) + 1], strict=True):
        assert len({row.count("|") for row in tables[start - 1 : end - 1]}) == 1
