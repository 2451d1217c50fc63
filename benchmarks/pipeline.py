"""What a pipeline run costs: ``python benchmarks/pipeline.py [RUNS]``, in a clone of the project.

Each run is ``roadworthy run fuel --force`` in a fresh clone that has run once before, so that
everything is warm and the champion is compared. For each step it prints the median of its own time
and of what comes before it: the start of a process and its imports. The table is also written to
``benchmarks/results/pipeline.md``.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "pipeline.md"


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if sys.argv[1:] else 3
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(clone)], check=True)
        _run(clone)
        measured = [_run(clone) for _ in range(runs)]
    walls = [wall for wall, _ in measured]
    lines = [
        f"{runs} warm runs on {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}: wall {statistics.median(walls):.1f} s "
        f"({min(walls):.1f} to {max(walls):.1f}).",
        "",
        "| step | before it, s | own work, s |",
        "| --- | ---: | ---: |",
    ]
    for step in measured[0][1]:
        before, own = zip(*(steps[step] for _, steps in measured), strict=True)
        lines.append(f"| {step} | {statistics.median(before):.2f} | {statistics.median(own):.2f} |")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _run(clone: Path) -> tuple[float, dict[str, tuple[float, float]]]:
    """Return the wall time of a run and, for each step, the time before it and its own."""
    command = [sys.executable, "-m", "roadworthy", "run", "fuel", "--force", "--json"]
    started = time.time()
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    wall = time.time() - started
    if done.returncode != 0:
        sys.exit(f"The run failed: {done.stderr}")
    steps = {}
    ended = started
    for record in json.loads(done.stdout)["steps"]:
        begun = datetime.fromisoformat(record["started"]).timestamp()
        steps[record["step"]] = (begun - ended, record["seconds"])
        ended = begun + record["seconds"]
    return wall, steps


if __name__ == "__main__":
    main()
