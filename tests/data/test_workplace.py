"""A command finds the clone it is given in; what a user sets comes first."""

import os
import subprocess

import pytest

from roadworthy.core.environment import SettingsError
from roadworthy.data.git import GitError
from roadworthy.data.workplace import settings_here


@pytest.fixture(autouse=True)
def clean(git_identity, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def clone(tmp_path):
    place = tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", place], check=True)
    (place / "src" / "deep").mkdir(parents=True)
    return place


@pytest.mark.parametrize("below", [".", "src", "src/deep"])
def test_the_home_is_at_the_root_of_the_clone(clone, below):
    settings = settings_here(clone / below)

    assert settings.home == clone / ".roadworthy"
    assert settings.git_remote == str(clone / ".roadworthy" / "remote.git")
    assert settings.dvc_remote_url == str(clone / ".dvc" / "embedded")
    assert settings.model_fields_set == set()


def test_where_there_is_no_git_it_is_as_outside_a_clone(clone, tmp_path, monkeypatch):
    monkeypatch.chdir(clone)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    assert settings_here(clone).dvc_remote_url == ""


def test_what_is_said_explicitly_wins(clone, monkeypatch, tmp_path):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROADWORTHY_DVC_REMOTE_URL", "s3://bucket/dvc")
    monkeypatch.setenv("ROADWORTHY_SERVING_URL", "http://127.0.0.1:9")

    settings = settings_here(clone)

    assert settings.home == tmp_path / "home"
    assert settings.dvc_remote_url == "s3://bucket/dvc"
    assert settings.git_remote == str(tmp_path / "home" / "remote.git")
    assert settings.model_fields_set == {"home", "dvc_remote_url", "serving_url"}


def test_a_clone_of_another_user_is_told_and_not_passed_over(clone, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(GitError, match=r"belongs to another user.*safe\.directory"):
        settings_here(clone)


def test_a_value_that_cannot_be_used_is_told_with_its_variable(clone, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_READY_SECONDS", "soon")

    with pytest.raises(SettingsError, match=r"ROADWORTHY_READY_SECONDS is 'soon': .*unset it"):
        settings_here(clone)


@pytest.mark.parametrize("name", ["TOKEN", "GIT_TOKEN"])
@pytest.mark.parametrize("sign", ["\n", "\x01", "é", "\udcff"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_told(clone, monkeypatch, name, sign):
    monkeypatch.setenv(f"ROADWORTHY_{name}", f"hunter2{sign}hunter2")

    with pytest.raises(SettingsError, match=f"ROADWORTHY_{name}: ") as caught:
        settings_here(clone)

    assert "hunter2" not in f"{caught.value}{caught.value.__context__}"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("value", ["localhost:9000", "http://", "http://a:b"])
def test_an_address_of_s3_that_is_none_is_told(clone, monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"{name} is not an address that begins with http"):
        settings_here(clone)
