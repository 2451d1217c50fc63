"""Each setting has a default under its home, a variable, and reaches another process unchanged."""

import getpass
import os

import pytest
from pydantic import SecretStr

from roadworthy.core.settings import HomeError, Settings

VALUES = {
    "home": "/srv/roadworthy",
    "git_remote": "git@gitlab.example.com:group/project.git",
    "dvc_remote_url": "s3://bucket/dvc",
    "mlflow_tracking_uri": "http://mlflow:5000",
    "records": "s3://bucket/runs",
    "ready_seconds": "12.5",
    "min_requests": "100",
    "token": "s3cret",
    "git_token": "s3cret too",
    "target": "kserve",
}


def plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_under_the_home(tmp_path):
    settings = Settings()

    home = tmp_path / ".roadworthy"
    assert settings.home == home
    assert settings.git_remote == str(home / "remote.git")
    assert settings.mlflow_tracking_uri == f"sqlite:///{home}/mlflow/mlflow.db"
    assert settings.mlflow_artifacts == str(home / "mlflow" / "artifacts")
    assert settings.records == str(home / "runs")
    assert settings.routing == home / "routing"
    assert settings.bundles == home / "bundles"
    assert settings.actor == getpass.getuser()
    assert settings.model_fields_set == set()


def test_a_rollout_to_kserve_has_other_times_wherever_it_is_run(tmp_path):
    here, away = Settings(home=tmp_path), Settings(home=tmp_path, target="kserve")
    names = ("ready_seconds", "stage_seconds", "quiet_seconds", "lease_seconds")

    assert [getattr(here, name) for name in names] == [30, 10, 0.5, 15]
    assert [getattr(away, name) for name in names] == [600, 120, 60, 900]
    assert Settings(home=tmp_path, target="kserve", ready_seconds=5).ready_seconds == 5


@pytest.mark.parametrize("given", [{}, {"home": "some where"}, VALUES])
def test_another_process_reads_the_same(monkeypatch, tmp_path, given):
    settings = Settings(**given)

    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert Settings() == settings


def test_the_token_is_not_shown():
    settings = Settings(token="s3cret")

    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.model_dump())


@pytest.mark.parametrize("field", ["git_remote", "dvc_remote_url", "records"])
def test_a_directory_means_the_same_to_a_step_elsewhere(tmp_path, field):
    (tmp_path / "there").mkdir()

    for given in ("there", "./there", str(tmp_path / "there")):
        assert getattr(Settings(**{field: given}), field) == str(tmp_path / "there")


def test_a_variable_that_is_empty_is_as_if_it_were_not_set(monkeypatch, tmp_path):
    for name in VALUES:
        monkeypatch.setenv(f"ROADWORTHY_{name.upper()}", "")

    assert Settings().home == tmp_path / ".roadworthy"
    assert Settings().model_fields_set == set()


def test_a_user_without_a_name_is_named_by_number(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])

    assert Settings().actor == f"user {os.getuid()}"


def test_the_home_is_made_and_ignored_by_git(tmp_path):
    Settings(home=tmp_path / "home").make_home()
    assert (tmp_path / "home" / ".gitignore").read_text() == "*\n"


def test_the_remote_in_the_home_is_embedded_and_another_is_not(tmp_path):
    home = tmp_path / "home"

    assert Settings(home=home).embedded_remote == home / "remote.git"
    assert Settings(home=home, git_remote=str(home / "remote.git")).embedded_remote is not None
    assert Settings(home=home, git_remote=str(tmp_path / "remote.git")).embedded_remote is None


def test_a_registry_in_a_file_is_there_once_it_was_made(tmp_path):
    settings = Settings(home=tmp_path / "home")
    file = settings.home / "mlflow" / "mlflow.db"

    assert Settings(mlflow_tracking_uri="http://127.0.0.1:9").has_registry
    assert not settings.has_registry
    assert not settings.home.exists()
    file.mkdir(parents=True)
    assert settings.has_registry, "what is there and cannot be opened is told by who opens it"
    file.rmdir()
    file.write_text("")
    assert settings.has_registry


@pytest.mark.parametrize("name", ["h q?mode=ro", "h%41", "h{y}"])
def test_a_home_that_means_something_else_in_an_address_is_refused(tmp_path, name):
    with pytest.raises(HomeError, match="Name another directory"):
        Settings(home=tmp_path / name).make_home()
    assert not (tmp_path / name).exists()


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written"):
        Settings(home=tmp_path / "file").make_home()


@pytest.mark.parametrize("field", ["token", "git_token"])
def test_a_token_is_what_stands_between_white_space(field):
    assert plain(getattr(Settings(**{field: " s3cret\r\n"}), field)) == "s3cret"
