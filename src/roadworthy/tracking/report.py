"""A run's report: how it ended and why, from the records of its steps."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roadworthy.core import pages
from roadworthy.core.errors import ExitCode
from roadworthy.tracking.records import Record

Outcome = Literal["released", "nothing new", "rejected", "rolled back", "failed"]

EXIT_CODES: Mapping[Outcome, ExitCode] = {
    "released": ExitCode.DONE,
    "nothing new": ExitCode.DONE,
    "rejected": ExitCode.GATE,
    "rolled back": ExitCode.ROLLED_BACK,
    "failed": ExitCode.FAILED,
}
_FORMAT = 1


@dataclass(frozen=True)
class Report:
    """How a run ended.

    Parameters
    ----------
    run, model, trigger
        Which run it was.
    outcome
        How it ended.
    why
        Why it ended so, in a sentence.
    records
        What each step did.
    """

    run: str
    model: str
    trigger: str
    outcome: Outcome
    why: str
    records: tuple[Record, ...]

    @property
    def exit_code(self) -> ExitCode:
        """What the command line ends with."""
        return EXIT_CODES[self.outcome]

    def details(self, step: str) -> dict[str, Any]:
        """Return the details of a step; none where it did not run or has failed."""
        found = (record for record in self.records if record.step == step)
        return next((record.details for record in found if record.state != "failed"), {})

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values. What is not a finite number there is None."""
        records = [asdict(record) | {"seconds": record.seconds} for record in self.records]
        told = {
            "format": _FORMAT,
            "run": self.run,
            "model": self.model,
            "trigger": self.trigger,
            "outcome": self.outcome,
            "exit_code": int(self.exit_code),
            "why": self.why,
            "steps": records,
        }
        plain: dict[str, Any] = pages.finite(told)
        return plain

    def to_json(self) -> bytes:
        """Return the report as JSON."""
        told = self.to_dict()
        return json.dumps(told, indent=2, default=str, allow_nan=False).encode() + b"\n"

    def to_html(self, figures: Mapping[str, bytes]) -> bytes:
        """Return the report as one HTML page that needs nothing else."""
        # A clock that was set back meanwhile makes a span negative.
        times = [max(0.0, record.seconds) for record in self.records if record.ended]
        page = pages.render(
            "roadworthy.tracking",
            "report.html.j2",
            {"number": pages.number, "percent": _percent},
            report=self,
            checkout=self.details("checkout"),
            training=self.details("train"),
            evaluation=self.details("evaluate"),
            released=self.details("release") or self.details("push"),
            verdict=self.details("gate"),
            rollout=_course(self.details("canary") or self.details("verify")),
            figures={name: base64.b64encode(png).decode() for name, png in sorted(figures.items())},
            longest=max(times, default=0.0) or 1.0,
            total=sum(times),
        )
        return page.encode()


def conclude(run: str, model: str, trigger: str, records: Sequence[Record]) -> Report:
    """Return the report of the records, the report step's own left out."""
    steps = tuple(record for record in records if record.step != "report")
    outcome, why = _outcome({record.step: record for record in steps})
    return Report(run, model, trigger, outcome, why, steps)


def _outcome(steps: Mapping[str, Record]) -> tuple[Outcome, str]:
    broken = next((record for record in steps.values() if record.state != "done"), None)
    if broken is not None:
        back = broken.details.get("exit_code") == ExitCode.ROLLED_BACK
        return "rolled back" if back else "failed", _problem(broken)
    if "promote" in steps:
        return "released", steps["promote"].summary
    if "roll-back" in steps:
        return "rolled back", steps["roll-back"].summary
    if "reject" in steps:
        return "rejected", _reasons(steps)
    if "checkout" in steps and steps["checkout"].details.get("new") is False:
        return "nothing new", steps["checkout"].summary
    last = list(steps)[-1] if steps else "its start"
    return "failed", f"The run was stopped after {last}. Run again."


def _reasons(steps: Mapping[str, Record]) -> str:
    gate = steps.get("gate")
    reasons = gate.details.get("reasons", []) if gate is not None else []
    return "; ".join(reasons) or steps["reject"].summary


def _problem(record: Record) -> str:
    if record.state == "failed":
        return f"{record.step}: {record.error or 'it gave no reason'}"
    return f"The run was stopped during {record.step}. Run again."


def _course(verified: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rollout with the figures of its stages by name, for the page; empty if none was."""
    rollout = verified.get("rollout")
    if not rollout or not rollout["stages"]:
        return {}
    stages = [
        {**stage, "found": {figure["name"]: figure for figure in stage["figures"]}}
        for stage in rollout["stages"]
    ]
    return {**rollout, "stages": stages, "tolerance": verified["tolerance"]}


def _percent(value: float | None) -> str:
    """Return a share as a person reads it."""
    return "" if value is None else f"{100 * value:.3g} %"
