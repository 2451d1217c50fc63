"""A run starts from a commit, alone, or says why not; what it started ends with it."""

import os
import shutil
import threading

import pytest

from roadworthy.core.settings import Settings
from roadworthy.data import git
from roadworthy.data.access import AccessError
from roadworthy.engines.local import running
from roadworthy.engines.local.running import RunError
from roadworthy.tracking.registry import Registry
from tests.candidate import CANDIDATE
from tests.parts.git_clone import commit, make

# An engine that starts a program of its own, as the real one starts its steps. Both hold a pipe.
ENGINE = """
import os, subprocess, sys, time
pipe = os.open(os.environ["PIPE"], os.O_WRONLY)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[pipe])
print("engine of", os.getcwd(), flush=True)
os.write(pipe, b"up")
time.sleep(600)
"""
FILES = {
    "src/model.py": "",
    "components/train.py": "",
    "pipelines/local.py": ENGINE,
    "pipelines/fuel.yaml": "fuel",
    "requirements/pipeline.txt": "",
}


@pytest.fixture
def clone(git_identity, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)
    place = make(tmp_path / "clone", FILES)
    commit(place)
    return place


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", serving_url="http://127.0.0.1:9")


@pytest.fixture
def pipe(tmp_path, monkeypatch):
    """The end of a pipe that is at its end when the engine and all it started are gone."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("PIPE", str(tmp_path / "pipe"))
    return tmp_path / "pipe"


def start(settings, clone, model="fuel"):
    return running.start(settings, clone, model, trigger="manual", force=False)


def refused(settings, clone, kind, match, model="fuel"):
    with pytest.raises(kind, match=match), start(settings, clone, model):
        pytest.fail("the run started")


def test_a_run_has_its_own_directory_log_and_code(settings, clone, pipe):
    (clone / "new.txt").write_text("not committed")

    with start(settings, clone) as run, pipe.open("rb") as up:
        assert up.read(2) == b"up"
        assert run.changes == ("new.txt",)
        assert run.directory == settings.home / "runs" / run.name
        assert run.log.read_text() == f"engine of {settings.home / 'code' / run.commit}\n"
        assert next(run.watch()) == []
        assert git.git("rev-parse", "main", cwd=settings.home / "remote.git") == run.commit

    assert not (run.directory / "tmp").exists()


def test_data_that_was_edited_and_not_added_is_told(settings, clone, pipe):
    (clone / "data.csv.dvc").write_text(f"outs:\n- md5: '{'0' * 32}'\n  path: data.csv\n")
    (clone / ".gitignore").write_text("/data.csv\n")
    commit(clone)
    (clone / "data.csv").write_text("another row\n")

    with start(settings, clone) as run, pipe.open("rb"):
        assert run.changes == ()
        assert ["data.csv was edited" in told for told in run.warnings] == [True]


def test_a_commit_that_lacks_the_champions_is_asked_about(settings, clone, empty_registry):
    (clone / "data.csv.dvc").write_text(f"outs:\n- md5: '{'0' * 32}'\n  path: data.csv\n")
    commit(clone)
    shutil.copytree(empty_registry, settings.home / "mlflow")
    registry, asked = Registry.of(settings), []
    run = registry.log_candidate("fuel", **CANDIDATE)
    version = registry.register("fuel", run_id=run, digest="d", tags={"commit": "f" * 40})
    registry.set_alias(version, "champion")

    told = {"trigger": "manual", "force": True, "confirm": asked.append}
    with (
        pytest.raises(RunError, match="Nothing was run"),
        running.start(settings, clone, "fuel", **told),
    ):
        pytest.fail("the run started")

    assert "is not based on ffffffffffff, which the champion is made of" in asked[0]
    assert not (settings.home / "runs").exists()


def test_all_that_a_run_started_ends_with_it(settings, clone, pipe):
    with start(settings, clone) as run:
        up = pipe.open("rb")
        assert up.read(2) == b"up"

    with up:
        assert up.read() == b""
    assert run.process.returncode is not None


def test_a_second_run_of_the_model_is_refused_and_the_first_goes_on(settings, clone, pipe):
    with start(settings, clone) as run, pipe.open("rb") as up:
        assert up.read(2) == b"up"
        told = (
            rf"Another run of fuel is under way in .*home: run {run.name}, since 20\S+, process "
            rf"{os.getpid()} on \S+\. Wait for it, or stop it with `kill {os.getpid()}`\.$"
        )
        answers = []

        def second():
            try:
                refused(settings, clone, RunError, told)
                answers.append("refused")
            except BaseException as error:  # noqa: BLE001, told below
                answers.append(error)

        other = threading.Thread(target=second)
        other.start()
        other.join()
        assert answers == ["refused"]
        assert run.process.poll() is None


def test_a_commit_without_the_models_pipeline_is_refused(settings, clone):
    (clone / "pipelines" / "fuel.yaml").rename(clone / "pipelines" / "outliers.yaml")
    commit(clone)

    told = r"has no pipelines/fuel\.yaml: compile it with `roadworthy compile fuel` and commit"
    refused(settings, clone, RunError, told)
    assert not (settings.home / "runs").exists()


def test_a_directory_that_is_no_clone_is_refused(settings, tmp_path):
    refused(settings, tmp_path, git.NoCloneError, "is not in a Git repository")
    assert not settings.home.exists()


def test_a_remote_with_a_password_in_it_is_refused_before_anything_is_written(clone, tmp_path):
    remote = "https://me:hunter2@git.example/cars.git"
    told = Settings(home=tmp_path / "home", git_remote=remote)

    with pytest.raises(AccessError) as caught, start(told, clone):
        pytest.fail("the run started")

    assert "hunter2" not in str(caught.value)
    assert not told.home.exists()


def test_what_runs_write_is_ignored_by_git(clone, pipe):
    inside = Settings(home=clone / "runs of mine", serving_url="http://127.0.0.1:9")

    with start(inside, clone), pipe.open("rb") as up:
        assert up.read(2) == b"up"

    assert git.inspect(clone).changes == ()
