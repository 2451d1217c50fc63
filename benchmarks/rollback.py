"""How soon a rollback is felt: ``python benchmarks/rollback.py [TIMES]``, in a clone.

A customer in this process asks all the time. Measured is the time from the start of the command
``roadworthy rollback fuel`` to the first answer of the former champion, with one process that
serves and with two. The bar is 2 s. The table is also written to
``benchmarks/results/rollback.md``.
"""

from __future__ import annotations

import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.data import dvc
from roadworthy.rollout.local import placement
from roadworthy.routing import routes
from roadworthy.routing.routes import VERSION_HEADER, Release, Routing
from roadworthy.tracking.registry import Registry

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "rollback.md"
BAR_SECONDS = 2.0
PATIENCE_SECONDS = 60.0


def main() -> int:
    """Measure and print; 1 if the bar is missed."""
    times = int(sys.argv[1]) if sys.argv[1:] else 5
    lines = [
        f"{times} rollbacks on {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, from the start of the command to the former champion's "
        f"first answer; the bar is {BAR_SECONDS:g} s.",
        "",
        "| processes that serve | median, s | least, s | most, s |",
        "| ---: | ---: | ---: | ---: |",
    ]
    medians = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
            found = _measure(Path(scratch), workers, times)
        medians.append(statistics.median(found))
        lines.append(f"| {workers} | {medians[-1]:.2f} | {min(found):.2f} | {max(found):.2f} |")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return int(max(medians) > BAR_SECONDS)


def _measure(scratch: Path, workers: int, times: int) -> list[float]:
    settings = Settings(home=scratch / "home")
    first, second = _release(settings, scratch / "bundle")
    routes.write(settings.routing, Routing("fuel", champion=second, previous=first))
    found = []
    with serving(settings, workers) as (url, environment):
        for _ in range(times):
            _prepare(settings, first, second)
            _wait_for(url, second.version)
            began = time.monotonic()
            command = [sys.executable, "-m", "roadworthy", "rollback", "fuel"]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            found.append(_wait_for(url, first.version) - began)
            if process.wait(PATIENCE_SECONDS) != 0:
                sys.exit("The rollback failed.")
    return found


def _release(settings: Settings, target: Path) -> tuple[Release, Release]:
    """Register two versions of one bundle, and place it where the server reads it."""
    made, registry = build(target), Registry.of(settings)
    run = registry.log_candidate(
        "fuel", name="a", made_of="a", parameters={}, metrics={}, tags={}, figures={}
    )
    for number in (1, 2):
        registry.register("fuel", run_id=run, digest=f"{made.digest}-{number}", tags={})
    return placement.place(settings, made, 1), placement.place(settings, made, 2)


def build(target: Path) -> Bundle:
    """Train the fuel model on the data of the clone, and return its bundle."""
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    known = dvc.content_hash(ROOT / "data.csv.dvc")
    words = [str(ROOT / "data.csv"), str(target), commit, known]
    command = [sys.executable, "-m", "roadworthy.training.rebuild", "fuel", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return bundle.read(target)


def _prepare(settings: Settings, first: Release, second: Release) -> None:
    """Make the later version the champion again, as if nothing had happened."""
    registry = Registry.of(settings)
    registry.set_alias(registry.version("fuel", second.version), "champion")
    routes.write(settings.routing, Routing("fuel", champion=second, previous=first))


def _wait_for(url: str, version: int) -> float:
    """Ask until a version has answered, and return when that was."""
    end = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(base_url=url, trust_env=False) as client:
        card = client.get("/v2/models/fuel/card").raise_for_status().json()
        body = {"instances": [card["request"]["example"]]}
        while time.monotonic() < end:
            answer = client.post("/v1/models/fuel:predict", json=body).raise_for_status()
            if answer.headers[VERSION_HEADER] == str(version):
                return time.monotonic()
            time.sleep(0.005)
    sys.exit(f"Version {version} did not answer within {PATIENCE_SECONDS:g} s.")


@contextmanager
def serving(settings: Settings, workers: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Run ``roadworthy serve``; give its address, and the environment of its home."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"ROADWORTHY_HOME": str(settings.home)}
    command = [sys.executable, "-m", "roadworthy", "serve", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)], env=environment, stdout=subprocess.PIPE
    )
    try:
        if process.stdout is None or not process.stdout.readline():
            sys.exit("The server did not start.")
        yield url, environment
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
