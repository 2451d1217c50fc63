"""Whether a healthy version survives a canary under load: ``python benchmarks/canary.py``.

One bundle of the fuel model is the champion and the challenger, and wrk (``apt-get install wrk``)
sends requests over 0 to 250 connections.

``rollouts N`` rolls the bundle out N times, and prints how many of them were rolled back, and why.
``record`` records 200 stages of such rollouts, four a rollout, to
``tests/fixtures/canary/stages.json``: a test replays them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
from rollback import ROOT, serving

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.data import dvc
from roadworthy.rollout.actions import steering
from roadworthy.rollout.engine import analysis
from roadworthy.rollout.engine.analysis import TrafficStats
from roadworthy.rollout.engine.sampling import Histogram, bins
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking.registry import Registry

STAGES = ROOT / "tests" / "fixtures" / "canary" / "stages.json"
CONNECTIONS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 250)
WEIGHTS = (0, 10, 50, 100)
RECORDED = 50
"""Rollouts that are recorded."""
RECORD_SECONDS = 0.5
STAGE_SECONDS = 2.0
SETTLE_SECONDS = 0.3
"""The time until a server has read a routing file and flushed its metrics."""


def main() -> int:
    """Run a command; 1 if more than one healthy version was rolled back."""
    command, *more = sys.argv[1:] or ["rollouts"]
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        home = Path(scratch)
        settings = Settings(home=home / "home", stage_seconds=STAGE_SECONDS)
        made = _bundle(home / "bundle")
        if command == "record":
            return _record(settings, made, home)
        return _roll_out(settings, made, home, int(more[0]) if more else 20)


def _record(settings: Settings, made: Bundle, place: Path) -> int:
    champion, challenger = (placement.place(settings, made, number) for number in (1, 2))
    stages: list[dict[str, Any]] = []
    edges: list[float] = []
    routes.write(settings.routing, Routing("fuel", champion))
    with serving(settings, workers=1) as (url, _):
        for connections in islice(cycle(CONNECTIONS), RECORDED):
            for weight in WEIGHTS:
                now = Routing("fuel", champion, challenger, weight, shadow=True)
                routes.write(settings.routing, now)
                time.sleep(SETTLE_SECONDS)
                before = _stats(url)
                with _load(url, made, connections, place):
                    time.sleep(RECORD_SECONDS)
                time.sleep(SETTLE_SECONDS)
                stats = _stats(url).since(before)
                edges = edges or sorted(stats.champion_seconds)
                stages.append(_compact(stats) | {"connections": connections, "weight": weight})
    lines = ",\n".join(json.dumps(stage, separators=(",", ":")) for stage in stages)
    STAGES.parent.mkdir(parents=True, exist_ok=True)
    STAGES.write_text(f'{{"edges": {json.dumps(edges[:-1])},\n"stages": [\n{lines}\n]}}\n')
    print(f"{len(stages)} stages are in {STAGES}.")
    return 0


def _stats(url: str) -> TrafficStats:
    return analysis.read(httpx.get(f"{url}/metrics").raise_for_status().text, "fuel", 1, 2)


def _compact(stats: TrafficStats) -> dict[str, Any]:
    """Return the counts of a stage, and the bins of its times without the empty ones around."""
    counts = ("requests", "failures", "champion_requests", "fallbacks", "shadow")
    return {name: _whole(getattr(stats, name)) for name in counts} | {
        "seconds": _trimmed(stats.seconds),
        "champion_seconds": _trimmed(stats.champion_seconds),
    }


def _whole(told: Any) -> Any:
    return {name: int(n) for name, n in told.items()} if isinstance(told, dict) else int(told)


def _trimmed(histogram: Histogram) -> tuple[int, list[int]]:
    """Return the place of the first bin with values, and the number of values from it on."""
    counts = [int(count) for count in bins(histogram)]
    first = next((place for place, count in enumerate(counts) if count), len(counts))
    while counts and not counts[-1]:
        counts.pop()
    return first, counts[first:]


def _roll_out(settings: Settings, made: Bundle, place: Path, times: int) -> int:
    registry = Registry.of(settings)
    _release(settings, registry, made, 1, place)
    registry.set_alias(registry.version("fuel", 1), "champion")
    back = []
    with serving(settings, workers=1) as (url, _):
        served = settings.model_copy(update={"serving_url": url})
        for number, connections in zip(range(2, times + 2), cycle(CONNECTIONS), strict=False):
            _release(settings, registry, made, number, place)
            with _load(url, made, connections, place):
                found = steering.start(
                    served, registry, LocalTarget(served), "fuel", number, strategy="canary"
                )
            asked = sum(stage.requests for stage in found.stages)
            print(f"{connections} connections, {asked} requests to it: {found}", flush=True)
            if found.state != "promoted":
                back.append(found)
    print(f"{len(back)} of {times} healthy versions were rolled back.")
    return int(len(back) > 1)


def _release(
    settings: Settings, registry: Registry, made: Bundle, number: int, place: Path
) -> None:
    """Register a version and place its bundle: the same graph with another card."""
    files = {path: (made.path / path).read_bytes() for path in made.manifest.files}
    files["card.md"] += f"\nVersion {number}.\n".encode()
    copy = bundle.write(place / f"bundle-{number}", replace(made.manifest, files={}), files)
    run = registry.log_candidate(
        "fuel", name=copy.digest, made_of="a", parameters={}, metrics={}, tags={}, figures={}
    )
    registry.register("fuel", run_id=run, digest=copy.digest, tags={})
    release = placement.place(settings, copy, number)
    if number == 1:
        routes.write(settings.routing, Routing("fuel", release))


def _bundle(target: Path) -> Bundle:
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    words = [str(ROOT / "data.csv"), str(target), commit, dvc.content_hash(ROOT / "data.csv.dvc")]
    command = [sys.executable, "-m", "roadworthy.training.rebuild", "fuel", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return bundle.read(target)


@contextmanager
def _load(url: str, made: Bundle, connections: int, place: Path) -> Iterator[None]:
    """Send golden requests in turn over some connections while the block runs."""
    if not connections:
        yield
        return
    script = place / "post.lua"
    bodies = [json.dumps({"instances": [request]}) for request in made.golden.requests]
    script.write_text(_LUA.replace("BODIES", ",\n".join(f"[==[{body}]==]" for body in bodies)))
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", "1h"]
    address = f"{url}/v1/models/fuel:predict"
    process = subprocess.Popen(
        [*command, "--script", str(script), address], stdout=subprocess.DEVNULL, env=os.environ
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


_LUA = """wrk.method = "POST"
local bodies = {BODIES}
local n = 0
function request()
  n = n + 1
  return wrk.format(nil, nil, nil, bodies[n % #bodies + 1])
end
"""


if __name__ == "__main__":
    sys.exit(main())
