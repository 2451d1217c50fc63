"""Training tries every candidate, chooses, fits to all rows, and does the same again."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from roadworthy.models import fuel
from roadworthy.models.contract import ExportError, Validation
from roadworthy.training import fitting
from roadworthy.training.fitting import CandidateExportError
from roadworthy.training.selection import NoCandidateError, named


def test_every_candidate_is_validated_and_the_chosen_one_passes_the_bars(fitted):
    assert list(fitted.validations) == [candidate.name for candidate in fuel.candidates]
    found = fitted.validations[fitted.candidate.name].metrics
    assert fitted.metrics == found | {"cv_failed_checks": 0}
    for bound in fuel.criteria.cross_validated:
        assert bound.check(fitted.metrics[bound.name]).passed


def test_training_again_gives_the_same_to_the_last_bit(fitted, halves):
    again = fitting.fit(fuel, halves.train)

    assert again.candidate.name == fitted.candidate.name
    assert {n: v.metrics for n, v in again.validations.items()} == {
        n: v.metrics for n, v in fitted.validations.items()
    }
    answers = [f.estimator.predict(halves.test) for f in (fitted, again)]
    assert answers[0].equals(answers[1])


def test_only_the_chosen_candidate_is_fitted_to_all_rows(halves):
    trained = []
    metrics = {"polynomial": 0.7, "ridge": 0.9, "support_vectors": math.nan}
    model = SimpleNamespace(
        candidates=fuel.candidates,
        criteria=replace(fuel.criteria, simplicity=0.002),
        cross_validate=lambda item, rows: Validation({"cv_r2": metrics[item.name]}, ()),
        train=lambda item, rows: trained.append((item.name, len(rows))) or "estimator",
        export=lambda estimator: None,
    )

    fitted = fitting.fit(model, halves.train)

    assert (fitted.candidate.name, fitted.estimator) == ("ridge", "estimator")
    samples = [(name, 60) for name in metrics]
    assert trained == [*samples, ("ridge", len(halves.train))]
    # and one that is named is chosen, whatever would win, and is the only one that is tried
    only = [named(fuel.candidates, "support_vectors")]
    alone = fitting.fit(model, halves.train, candidates=only)
    assert (alone.candidate, list(alone.validations)) == (only[0], ["support_vectors"])
    with pytest.raises(NoCandidateError, match="name one of polynomial, ridge, support_vectors"):
        named(fuel.candidates, "forest")


def test_what_cannot_be_exported_is_said_before_anything_is_cross_validated(halves):
    def export(estimator):
        raise ExportError("The step last (Odd) cannot be exported: use another.")

    model = SimpleNamespace(
        candidates=fuel.candidates,
        criteria=fuel.criteria,
        cross_validate=lambda item, rows: pytest.fail("it was cross-validated"),
        train=lambda item, rows: item,
        export=export,
    )

    with pytest.raises(CandidateExportError, match=r"candidate polynomial: The step last \(Odd\)"):
        fitting.fit(model, halves.train)
