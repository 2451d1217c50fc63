"""What the doctor says of a laptop: of one where all is well, and with each thing broken."""

import shutil
import subprocess

import pytest

from roadworthy.core.settings import Settings
from roadworthy.doctor import machine, parts
from roadworthy.doctor.checks import Part
from tests.doctor.conftest import git

NEEDED = ("git", "clone", "home", "data.csv")


@pytest.fixture
def looks(looked):
    """Look at a laptop but for its registry, which takes seconds."""

    def look(settings, directory):
        around = parts.others(settings, directory, "laptop")
        others = tuple(check for check in around.checks if check.name != "registry")
        return looked(parts.laptop(settings, directory), Part(around.name, others))

    return look


def test_of_one_where_all_is_well(looks, home, clone):
    found = looks(home, clone)
    assert {name: found[name].state for name in NEEDED} == dict.fromkeys(NEEDED, "ok")
    assert not any(one.state == "missing" for one in found.values())
    assert "everything committed" in found["clone"].told
    assert found["Git remote"].state == "ok"
    assert found["model server"].remedy == "roadworthy serve"


def no_object(clone):
    shutil.rmtree(clone / ".dvc" / "embedded")
    (clone / ".dvc" / "embedded").mkdir()


def no_remote(clone):
    shutil.rmtree(clone / ".dvc" / "embedded")


def no_dvc(clone):
    shutil.rmtree(clone / ".dvc")


def no_pointer(clone):
    (clone / "data.csv.dvc").write_text("outs: []\n")


def no_branch(clone):
    bare = clone / ".roadworthy" / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)


def damaged_remote(clone):
    (clone / ".roadworthy" / "remote.git").mkdir(parents=True)


def home_is_a_file(clone):
    (clone / ".roadworthy").write_text("")


@pytest.mark.parametrize(
    ("broken", "name", "remedy"),
    [
        (no_object, "data.csv", "dvc push --remote embedded data.csv.dvc"),
        (no_remote, "DVC remote", "dvc push"),
        (no_dvc, "DVC remote", "dvc init"),
        (no_pointer, "data.csv", "dvc add data.csv"),
        (no_branch, "Git remote", "git push "),
        (damaged_remote, "Git remote", "git ls-remote "),
        (home_is_a_file, "home", "export ROADWORTHY_HOME=DIRECTORY"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_of_one_where_something_is_broken(looks, home, clone, broken, name, remedy):
    broken(clone)
    found = looks(home, clone)[name]
    assert found.state == "missing"
    assert found.remedy.startswith(remedy)


def test_of_data_that_was_edited_and_not_added(looks, home, clone):
    (clone / "data.csv").write_text("other\n")

    found = looks(home, clone)["data.csv"]

    assert (found.state, found.remedy) == ("warning", "dvc add data.csv")


def test_of_a_clone_that_is_not_committed(clone):
    (clone / "more.py").write_text("")
    found = machine.clone(clone)
    assert (found.state, found.remedy) == ("warning", "git add --all && git commit")
    assert "1 path not committed" in found.told
    assert "more.py" in found.told


def test_of_a_clone_without_a_commit(tmp_path):
    git("init", "--quiet", cwd=tmp_path)
    found = machine.clone(tmp_path)
    assert (found.state, found.remedy) == ("missing", "git add --all && git commit")


def test_of_a_directory_that_is_no_clone(looks, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = looks(Settings(home=tmp_path / "home"), tmp_path)
    assert found["clone"].state == "missing"
    assert found["clone"].remedy.startswith("git init && ")
    assert "data.csv" not in found


def test_of_a_machine_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.git_program().remedy == "apt-get install git"
    assert machine.git_program().state == "missing"


def test_of_a_full_disk(home):
    found = machine.home(home, needed=10**18)
    assert found.state == "missing"
    assert "MB free" in found.told


def test_of_a_home_whose_name_means_something_else(tmp_path):
    assert machine.home(Settings(home=tmp_path / "50%")).state == "missing"


def test_nothing_is_changed_by_looking(looks, home, clone):
    def everything():
        return {path: path.stat().st_mtime_ns for path in clone.rglob("*") if path.is_file()}

    before = everything()
    looks(home, clone)
    assert everything() == before
