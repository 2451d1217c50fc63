"""The report of a run, from the records of its steps."""

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
    """The report of a run.

    Parameters
    ----------
    run, model, trigger
        The run's id, its model and what started it.
    outcome
        How it ended.
    why
        The reason, in a sentence.
    records
        The records of its steps.
    """

    run: str
    model: str
    trigger: str
    outcome: Outcome
    why: str
    records: tuple[Record, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The exit status of the command."""
        return EXIT_CODES[self.outcome]

    def details(self, step: str) -> dict[str, Any]:
        """Return the details of a step; none where it did not run or has failed."""
        found = (record for record in self.records if record.step == step)
        return next((record.details for record in found if record.state != "failed"), {})

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, with None for numbers that are not finite."""
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
        """Return the report as one self-contained HTML page."""
        # A clock that was set back makes a duration negative.
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
    """Return the report of the records, without that of the report step."""
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
    rejected = steps["reject"]
    told = [rejected.summary] if rejected.details.get("version") or not reasons else []
    return "; ".join([*reasons, *told])


def _problem(record: Record) -> str:
    if record.state == "failed":
        return f"{record.step}: {record.error or 'it gave no reason'}"
    return f"The run was stopped during {record.step}. Run again."


def _course(verified: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rollout with the metrics of its stages by name, for the page; empty if none was."""
    rollout = verified.get("rollout")
    if not rollout or not rollout["stages"]:
        return {}
    stages = [
        {
            **stage,
            # a run that the release before began has the second names
            "weight": stage.get("weight", stage.get("share")),
            "unavailable": stage.get("metrics_unavailable", stage.get("blind", False)),
            "found": {
                one["name"]: {**one, "conclusive": one.get("conclusive", one.get("judged"))}
                for one in stage.get("metrics", stage.get("figures", ()))
            },
        }
        for stage in rollout["stages"]
    ]
    return {**rollout, "stages": stages, "tolerance": verified["tolerance"]}


def _percent(value: float | None) -> str:
    """Return a fraction in percent."""
    return "" if value is None else f"{100 * value:.3g} %"
