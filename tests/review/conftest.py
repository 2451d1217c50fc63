"""Releases of a model from the project's own code, which are made once and only read."""

import dataclasses
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

import onnx
import pytest

from roadworthy.bundles import bundle, releases
from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.data import dvc
from roadworthy.tracking.registry import Registry
from tests.conftest import SAMPLE, version_sample

WHO = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")


class Releases:
    """A Git remote, a DVC remote and a registry, which lie in one directory; a home beside it."""

    def __init__(self, place: Path, home: Path) -> None:
        self.place, self.home = place, home
        self.settings = Settings(
            home=home,
            git_remote=str(place / "remote.git"),
            dvc_remote_url=str(place / "dvc"),
            mlflow_tracking_uri=f"sqlite:///{place / 'mlflow' / 'mlflow.db'}",
            mlflow_artifacts=str(place / "mlflow" / "artifacts"),
            actor="tester",
        )

    @cached_property
    def registry(self) -> Registry:
        return Registry.of(self.settings)

    @property
    def work(self) -> Path:
        return self.place / "work"

    def git(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            ["git", *WHO, *arguments], cwd=self.work, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def begin(self, root: Path, registry: Path) -> None:
        """Copy the project's code, its data and an empty registry."""
        shutil.copytree(root / "src", self.work / "src", ignore=shutil.ignore_patterns("*.pyc"))
        for name in ("components/a.py", "pipelines/a.py", "requirements/pipeline.txt"):
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text("# one\n")
        (self.work / ".dvc").mkdir()
        for name in (".dvc/config", ".dvc/.gitignore"):
            shutil.copyfile(root / name, self.work / name)
        version_sample(self.work, self.place / "dvc")
        shutil.copytree(registry, self.place / "mlflow")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=Begin")
        self.git("clone", "--quiet", "--bare", self.work, self.place / "remote.git")

    def release(self, made: Bundle, graph: bytes | None = None) -> int:
        """Release a bundle as one of the code as it stands; return the version's number."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=Work")
        commit = self.git("rev-parse", "HEAD")
        # The branch holds releases as well: another commit goes beside it, as a branch.
        remote = self.place / "remote.git"
        self.git("push", "--quiet", remote, f"HEAD:refs/heads/work-{commit[:8]}")
        data_hash = dvc.content_hash(self.work / "data.csv.dvc")
        manifest = dataclasses.replace(made.manifest, commit=commit, data_hash=data_hash)
        files = {name: (made.path / name).read_bytes() for name in made.manifest.files}
        files |= {} if graph is None else {bundle.MODEL: graph}
        released = bundle.write(self.place / f"bundle-{commit[:8]}", manifest, files)
        facts = {"made_of": commit, "parameters": {}, "metrics": {}, "tags": {}, "figures": {}}
        run_id = self.registry.log_candidate("fuel", name="any", **facts)
        version = self.registry.register("fuel", run_id=run_id, digest=released.digest, tags={})
        releases.publish(self.settings, released, version.git_tag)
        return version.number

    def rewrite(self, old: str, new: str) -> None:
        """Change the code by which the model splits its data."""
        package = self.work / "src" / "roadworthy" / "models" / "fuel"
        [file] = [file for file in package.glob("*.py") if old in file.read_text()]
        file.write_text(file.read_text().replace(old, new))

    def put_data(self, text: str) -> None:
        dvc.configure(self.work, remote="embedded", url=str(self.place / "dvc"))
        (self.work / "data.csv").write_text(text)
        dvc.push(self.work, dvc.add(self.work, "data.csv"))


def renamed(graph: bytes, old: str, new: str) -> bytes:
    """Return a graph that takes the same under another name."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    for node in model.graph.input:
        node.name = new if node.name == old else node.name
    return model.SerializeToString()


def turned_round(graph: bytes) -> bytes:
    """Return a graph that gives the same outputs in another order."""
    model = onnx.load_from_string(graph)
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def released(root, packed, simple, empty_registry, once, tmp_path_factory) -> Releases:
    """Version 1 is simple and the champion, 2 is the chosen candidate, 3 is 2 with its outputs in
    another order from code that holds other rows out, 4 requires the year under another name, 5 is
    1 from code that cannot prepare its data here, and 6 is 2 made of other data: three rows fewer,
    and one that is another."""
    home = tmp_path_factory.mktemp("review") / "home"

    def make(place: Path) -> None:
        place.mkdir()
        made = Releases(place, home)
        made.begin(root, empty_registry)
        assert made.release(simple) == 1
        assert made.release(packed) == 2
        made.rewrite("_SEED = 47", "_SEED = 48")
        assert made.release(packed, turned_round(packed.graph)) == 3
        made.rewrite("_SEED = 48", "_SEED = 47")
        assert made.release(packed, renamed(packed.graph, "year", "model_year")) == 4
        made.rewrite("def split(", "def divide(")
        assert made.release(simple) == 5
        made.rewrite("def divide(", "def split(")
        lines = SAMPLE.read_text().splitlines(keepends=True)
        assert lines[1] != lines[2]
        made.put_data("".join([*lines[:2], lines[1], *lines[3:-3]]))
        assert made.release(packed) == 6
        made.registry.set_alias(made.registry.version("fuel", 1), "champion")

    return Releases(once("released", make), home)
