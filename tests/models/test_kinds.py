"""Models of every kind go from raw data to a bundle that answers, by the contract alone."""

import pytest

from roadworthy.bundles.scoring import Scorer, from_frame
from roadworthy.models import tensors
from roadworthy.models.agreement import agree
from roadworthy.steps.gate import judge
from tests.parts.other_models import NAMES


@pytest.fixture(scope="module", params=NAMES)
def made(request, made_of):
    return made_of(request.param)


def test_the_gate_passes_it_and_compares_it_with_a_champion(made):
    model, packed = made.model, made.bundle
    judged = judge(model.name, packed=packed.path, test=made.test, champion=packed, number=1)
    assert judged.verdict.passed, judged.verdict.reasons
    assert judged.champion == judged.candidate


def test_the_golden_batch_is_plain_requests_with_the_answers_of_the_graph(made):
    # given
    model, packed = made.model, made.bundle
    fields = tensors.parse(packed.manifest.request)
    # when the requests are read as a server reads them
    for request in packed.golden.requests:
        model.Request.model_validate(request)
    answers = Scorer(packed.graph).score(tensors.columns(fields, packed.golden.requests))
    # then
    found = packed.golden.agreement(answers)
    assert found.agrees, found
    for answer in tensors.records(answers):
        model.Answer.model_validate(answer)


def test_rows_of_unequal_length_are_answered_in_their_order(made):
    model, packed = made.model, made.bundle
    rows = model.dataset.load(made.test)
    scorer = Scorer(packed.graph)
    columns = from_frame(rows, scorer.inputs)
    alone = [
        scorer.score({n: column[k : k + 1] for n, column in columns.items()})
        for k in range(len(rows))
    ]
    whole = scorer.score(columns)
    for name, column in whole.items():
        assert agree(
            {name: [one[name][0] for one in alone]}, {name: column}, model.tolerance
        ).agrees


def test_every_field_has_a_distribution_and_the_bundle_says_what_it_is(made):
    model, packed = made.model, made.bundle
    profile, manifest = packed.profile, packed.manifest
    assert set(profile["features"]) == set(manifest.request["properties"])
    assert set(profile["prediction"]) == set(manifest.answer["properties"])
    assert (manifest.title, manifest.task) == (model.title, model.task)
    assert manifest.tolerances == model.tolerance
    assert packed.figures == {}
    kinds = {
        name: one["kind"] for name, one in {**profile["features"], **profile["prediction"]}.items()
    }
    expected = {
        "ripeness": {"hue": "numbers", "variety": "labels", "label": "labels", "certain": "labels"},
        "spikes": {"window": "lists", "scores": "lists", "count": "numbers"},
        "shapes": {"picture": "images", "label": "labels", "probabilities": "lists"},
    }
    assert kinds.items() >= expected[model.name].items()


def test_the_answers_contain_what_the_tests_are_for(made):
    model, packed = made.model, made.bundle
    answers = {
        name: [one[name] for one in packed.golden.answers] for name in packed.golden.answers[0]
    }
    if model.name == "ripeness":
        assert 0 in answers["margin"]
        assert min(answers["margin"]) < 0
        assert set(answers["label"]) == {"ripe", "unripe"}
        assert {} in packed.golden.requests
    if model.name == "spikes":
        assert len({len(one) for one in answers["scores"]}) > 1
        assert any(not any(one) for one in answers["scores"])
