"""Decide whether a candidate may be released, and say why.

Everything here is pure: measured numbers in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roadworthy.models.agreement import Agreement
from roadworthy.models.contract import Bound, Check, Criteria, Scores
from roadworthy.training.selection import FAILED_CHECKS


@dataclass(frozen=True)
class Change:
    """What the candidate and the champion differ in: of what they are made, or a metric."""

    name: str
    champion: str | float
    candidate: str | float


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate: every check with its bound and value."""

    checks: tuple[Check, ...]
    note: str = ""
    """What it was compared with."""
    changes: tuple[Change, ...] = ()
    """What changed since the champion."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The checks that did not pass, as sentences."""
        return tuple(str(check) for check in self.checks if not check.passed)

    def __str__(self) -> str:
        """Return it for the terminal."""
        if not self.passed:
            failed = f"failed {len(self.reasons)} of {len(self.checks)} checks"
            return f"{failed}: {'; '.join(self.reasons)}"
        return ", ".join(filter(None, [f"passed all {len(self.checks)} checks", self.note]))

    def to_markdown(self) -> str:
        """Return the verdict as a table of its checks, the failed ones first."""
        rows = (
            f"| {'passed' if check.passed else '**failed**'} | {check.name} | {check.value:.6g} "
            f"| {check.comparison} {check.limit:.6g} | {check.unit} | {check.description} |"
            for check in sorted(self.checks, key=lambda check: check.passed)
        )
        return "\n".join(
            [
                f"**{'Passed' if self.passed else 'Failed'}**: {self}",
                "",
                "| Result | Check | Value | Required | Unit | |",
                "| --- | --- | ---: | --- | --- | --- |",
                *rows,
                "",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values, each check with whether it passed."""
        checks = [asdict(check) | {"passed": check.passed} for check in self.checks]
        return {
            "passed": self.passed,
            "note": self.note,
            "reasons": list(self.reasons),
            "checks": checks,
            "changes": [asdict(change) for change in self.changes],
        }


def decide(
    criteria: Criteria,
    *,
    metrics: Mapping[str, float],
    candidate: Scores,
    champion: Scores | None,
    behaviour: Sequence[Check],
    parity: Agreement,
    latency_ms: float,
) -> Verdict:
    """Return the verdict on a candidate.

    Parameters
    ----------
    metrics
        The candidate's metrics of cross-validation.
    candidate, champion
        Scores of both on the same hold-out; no champion before the first release.
    behaviour
        The behavioural checks on the hold-out.
    parity
        How far the ONNX graph and the estimator differ on the hold-out, by answer field.
    latency_ms
        The median time of one ONNX answer to one request, in milliseconds.
    """
    nowhere = float("nan")
    checks = [
        *(bound.check(metrics.get(bound.name, nowhere)) for bound in criteria.cross_validated),
        *(bound.check(candidate.metrics.get(bound.name, nowhere)) for bound in criteria.hold_out),
        _UNSEEN.check(metrics.get(FAILED_CHECKS, nowhere)),
        *behaviour,
        _parity(parity),
        Bound("latency", "at most", criteria.latency_ms, "ms", _LATENCY).check(latency_ms),
    ]
    if champion is not None:
        checks += _against(criteria, candidate, champion)
    return Verdict(tuple(checks))


_UNSEEN = Bound(
    FAILED_CHECKS, "at most", 0, description="behavioural checks failed in cross-validation"
)
_LATENCY = "median time of one answer to one request"


def _parity(found: Agreement) -> Check:
    told = "greatest difference of ONNX and estimator on the hold-out"
    allowed = found.allowed.get(found.worst, 0.0)
    bound = Bound(f"onnx_parity of {found.worst}", "at most", allowed, description=told)
    return bound.check(found.difference, found.extent)


def _against(criteria: Criteria, candidate: Scores, champion: Scores) -> list[Check]:
    metric, error, nowhere = criteria.metric, criteria.error, float("nan")
    needed = champion.metrics[metric] + criteria.margin
    told = f"the champion's on the same hold-out is {champion.metrics[metric]:.4f}"
    margin = Bound(f"{metric}_with_margin", "at least", needed, description=told)
    checks = [margin.check(candidate.metrics.get(metric, nowhere))]
    for name, scores in champion.slices.items():
        limit = scores[error] * (1 + criteria.slice_tolerance)
        told = f"the champion's is {scores[error]:.4f}"
        found = candidate.slices.get(name, {}).get(error, nowhere)
        checks.append(Bound(f"{error} of {name}", "at most", limit, description=told).check(found))
    return checks
