"""What the doctor says of what is elsewhere: Git, S3, MLflow, Kubeflow, Prometheus, the server."""

import json
import re

import pytest
from mlflow.version import VERSION
from pydantic import SecretStr

from roadworthy.core.settings import Settings
from roadworthy.doctor import parts, services, storage, variables
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing
from tests.parts.answering import Reply, answered_by

NOWHERE = "http://127.0.0.1:9"
MLFLOW = {"version": (200, VERSION), "search": (200, "{}")}


def answering(**answers):
    """A server that answers a path, by its last part, with a status and a text."""

    def answer(asked):
        last = asked.path.partition("?")[0].rpartition("/")[2]
        status, text = answers.get(last, (404, ""))
        return Reply(status, text.encode())

    return answered_by(answer)


def is_as(found, state, remedy):
    """Whether a finding has a state, and a command where something is not well."""
    return (
        found.state == state and found.remedy.startswith(remedy) and bool(remedy) == (state != "ok")
    )


def test_only_a_remote_that_refuses_a_push_takes_a_token(git_server, seed, server_of, tmp_path):
    asked = []
    anonymous = server_of(lambda request: asked.append(request.path) or Reply())
    without = [str(tmp_path), "git@git.example:cars.git", f"{anonymous}/a"]

    assert not any(map(variables.takes_token, without))
    assert asked == ["/a/info/refs?service=git-receive-pack"]
    assert variables.takes_token(git_server.make("closed.git", seed / "remote.git"))
    assert variables.takes_token(f"{NOWHERE}/a.git")


@pytest.mark.parametrize(
    ("changes", "state", "remedy"),
    [
        ({}, "ok", ""),
        ({"git_token": ""}, "missing", "read -rs ROADWORTHY_GIT_TOKEN"),
        ({"git_token": "glpat-wrong"}, "missing", "read -rs ROADWORTHY_GIT_TOKEN"),
        ({"git_branch": "old"}, "missing", "git push http"),
        ({"git_remote": f"{NOWHERE}/a.git"}, "missing", f"git ls-remote {NOWHERE}/a.git"),
        (
            {"git_remote": "https://me:word@git.example/cars.git"},
            *("missing", "export ROADWORTHY_GIT_REMOTE="),
        ),
    ],
)
def test_the_git_remote(git_server, seed, tmp_path, changes, state, remedy):
    remote = git_server.make("cars.git", seed / "remote.git")
    known = {"home": tmp_path, "git_remote": remote, "git_token": git_server.token}
    found = services.git_remote(Settings(**known | changes))
    assert is_as(found, state, remedy), found
    assert not re.search("wrong|word@", found.told + found.remedy)


class TestS3:
    @pytest.fixture
    def s3_here(self, s3, monkeypatch):
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        return s3

    @pytest.mark.parametrize(
        ("variables", "bucket", "state", "remedy"),
        [
            ({}, "", "ok", ""),
            ({}, "no-such-bucket", "missing", "aws s3api create-bucket --bucket no-such-bucket"),
            (
                {"AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": ""},
                *("cars", "missing", "read -rs AWS_SECRET_ACCESS_KEY"),
            ),
            ({"AWS_ENDPOINT_URL": "REFUSING"}, "cars", "missing", "read -rs AWS_SECRET_ACCESS_"),
            ({"AWS_ENDPOINT_URL": NOWHERE}, "cars", "missing", "export AWS_ENDPOINT_URL="),
        ],
    )
    def test_a_bucket(self, s3_here, monkeypatch, variables, bucket, state, remedy):
        name = bucket or s3_here.bucket()
        with answering(cars=(403, "")) as refusing:
            for variable, value in variables.items():
                monkeypatch.setenv(variable, value.replace("REFUSING", refusing))
            found = storage.bucket(name, ["ROADWORTHY_RECORDS"])
        assert is_as(found, state, remedy), found

    def test_a_store_is_tried_and_nothing_is_left_in_it(self, s3_here, tmp_path):
        bucket = s3_here.bucket()
        found = storage.bundle_store(Settings(home=tmp_path, bundle_store=f"s3://{bucket}/bundles"))
        assert found.state == "ok"
        assert s3_here.keys(bucket) == []
        assert "Uploads" not in s3_here._client().list_multipart_uploads(Bucket=bucket)

    def test_the_data_in_a_bucket(self, s3_here, clone, tmp_path):
        bucket = s3_here.bucket()
        url = f"s3://{bucket}/dvc"
        settings = Settings(home=tmp_path, dvc_remote="s3", dvc_remote_url=url)
        [absent] = storage.data(settings, clone)
        assert absent.remedy == "dvc push --remote s3 data.csv.dvc"
        s3_here.write(bucket, "dvc/files/md5/a0/666d1ace9a0895d67d4796be989a05", b"")
        [there] = storage.data(settings, clone)
        assert (absent.state, there.state) == ("missing", "ok")

    @pytest.mark.parametrize(
        ("remote", "url", "remedy"),
        [
            ("s3", "s3://nope-nope/dvc", "aws s3api create-bucket --bucket nope-nope"),
            ("other", "", "dvc remote add other URL"),
        ],
    )
    def test_a_remote_that_is_not_there(self, s3_here, clone, tmp_path, remote, url, remedy):
        settings = Settings(home=tmp_path, dvc_remote=remote, dvc_remote_url=url)
        [found] = storage.data(settings, clone)
        assert found.remedy == remedy


@pytest.mark.parametrize(
    ("answers", "state", "remedy"),
    [
        (MLFLOW, "ok", ""),
        (MLFLOW | {"version": (200, "2.0.0")}, "warning", "pip install mlflow=="),
        (MLFLOW | {"search": (401, "?")}, "missing", "export MLFLOW_TRACKING_USERNAME=NAME"),
        ({}, "missing", "export ROADWORTHY_MLFLOW_TRACKING_URI="),
    ],
    ids=["well", "version", "login", "none"],
)
def test_the_registry_at_a_server(tmp_path, answers, state, remedy):
    # A real one takes as long to start as all the tests here together.
    with answering(**answers) as url:
        found = services.registry(Settings(home=tmp_path, mlflow_tracking_uri=url))
    assert is_as(found, state, remedy), found


def test_the_registry_in_a_file(settings, tmp_path):
    assert services.registry(settings).told.endswith("mlflow.db, 0 models")
    assert services.registry(Settings(home=tmp_path / "new")).remedy == "make run"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("url", "token", "state", "remedy"),
    [
        ("HERE", "the right one", "ok", ""),
        ("HERE", "another one", "missing", "export ROADWORTHY_KFP_TOKEN_PATH="),
        (NOWHERE, "", "missing", "export ROADWORTHY_KFP_URL="),
        ("", "", "missing", "export ROADWORTHY_KFP_URL="),
    ],
)
def test_kubeflow(kfp_api, monkeypatch, url, token, state, remedy):
    kfp_api.token = "the right one"
    monkeypatch.setenv("ROADWORTHY_KFP_URL", url.replace("HERE", kfp_api.url))
    monkeypatch.setenv("ROADWORTHY_KFP_TOKEN", token)
    found = services.kubeflow()
    assert is_as(found, state, remedy), found
    assert "another one" not in found.told


@pytest.mark.parametrize(
    ("image", "state"),
    [
        ("", "warning"),
        ("registry.example/roadworthy/pipeline:latest", "missing"),
        (f"roadworthy/pipeline:{'0' * 40}", "missing"),
        (f"registry.example:5000/pipeline@sha256:{'a' * 64}", "ok"),
    ],
    ids=["none", "latest", "null", "digest"],
)
def test_the_image_of_the_steps(tmp_path, image, state):
    assert services.image(Settings(home=tmp_path, image=image)).state == state


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((200, json.dumps({"status": "success"})), "ok"),
        ((200, json.dumps({"status": "error"})), "missing"),
        ((200, "[]"), "missing"),
        ((503, ""), "missing"),
    ],
    ids=["well", "error", "list", "503"],
)
def test_prometheus(tmp_path, answer, state):
    with answering(query=answer) as url:
        assert services.prometheus(Settings(home=tmp_path, prometheus_url=url)).state == state
    assert services.prometheus(Settings(home=tmp_path)).state == "ok"


class TestServer:
    def test_that_answers(self, served_home, packed):
        released = Release(3, str(packed.path), packed.digest, "2026-01-01T00:00:00+00:00")
        routes.write(served_home.routing, Routing("fuel", champion=released))
        found = services.model_server(served_home)
        assert found.state == "ok"
        assert served_home.serving_url in found.told

    def test_that_does_not_answer(self, tmp_path):
        found = services.model_server(Settings(home=tmp_path, serving_url=NOWHERE))
        assert (found.state, found.remedy) == ("missing", "roadworthy serve")

    def test_that_requires_a_token(self, tmp_path):
        with answering(live=(200, "{}"), models=(401, "{}")) as url:
            found = services.model_server(Settings(home=tmp_path, serving_url=url))
        assert is_as(found, "missing", "read -rs ROADWORTHY_TOKEN")

    def test_that_was_killed(self, tmp_path):
        (tmp_path / "server.lock").touch()
        (tmp_path / "server.url").write_text(NOWHERE)
        assert services.model_server(Settings(home=tmp_path)).state == "warning"


@pytest.mark.parametrize(
    ("value", "shared"),
    [
        ("https://git.example/cars.git", True),
        ("git@git.example:cars.git", True),
        ("s3://cars/dvc", True),
        ("postgresql+psycopg2://mlflow@db.example/mlflow", True),
        ("", False),
        ("/home/me/a:b/remote.git", False),
        ("file:///home/me/remote.git", False),
        ("sqlite+pysqlite:////home/me/mlflow.db", False),
    ],
)
def test_what_pods_share(value, shared):
    assert variables.is_shared(value) is shared


class TestForPods:
    """Nothing of a laptop's own disk is well where a cluster is looked at."""

    @pytest.fixture
    def found(self, clone, home, looked):
        def look(target, **changes):
            return looked(parts.others(home.model_copy(update=changes), clone, target))

        return look

    def test_what_is_on_the_laptop_is_missing(self, found, clone):
        told = found("cluster")
        for line, variable in {
            "Git remote": "ROADWORTHY_GIT_REMOTE=",
            "registry": "ROADWORTHY_MLFLOW_TRACKING_URI=",
            "DVC remote": "ROADWORTHY_DVC_REMOTE=s3",
            "records": "ROADWORTHY_RECORDS=s3://",
            "bundle store": "ROADWORTHY_BUNDLE_STORE=s3://",
        }.items():
            assert is_as(told[line], "missing", f"export {variable}")
            assert "pod" in told[line].told
        # and a DVC remote by another name too
        with (clone / ".dvc" / "config").open("a") as file:
            file.write("['remote \"disk\"']\n    url = /mnt/disk\n")
        one = found("cluster", dvc_remote="disk", dvc_remote_url="")["DVC remote"]
        assert "disk, which is /mnt/disk, is on this machine" in one.told

    def test_on_a_laptop_it_is_well(self, found):
        told = found("laptop")
        assert {name for name, one in told.items() if one.state == "missing"} == set()
        assert told["data.csv"].state == "ok"

    def test_what_is_elsewhere_is_looked_at(self, found, git_server, seed, s3, monkeypatch):
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        bucket = s3.bucket()
        with answering(**MLFLOW) as url:
            told = found(
                "cluster",
                git_remote=git_server.make("shared.git", seed / "remote.git"),
                git_token=SecretStr(git_server.token),
                mlflow_tracking_uri=url,
                dvc_remote="s3",
                dvc_remote_url=f"s3://{bucket}/dvc",
                records=f"s3://{bucket}/records",
            )
        assert (told["Git remote"].state, told["registry"].state) == ("ok", "ok")
        assert told[f"bucket {bucket}"].state == "ok"
        assert "does not have" in told["data.csv"].told
        assert not {"DVC remote", "records"} & set(told)


@pytest.mark.parametrize(
    ("target", "settings", "wanted", "checks"),
    [
        ("laptop", {}, ["Laptop"], set()),
        ("all", {}, ["Laptop", "Cluster"], {"Kubeflow"}),
        (None, {"target": "kserve"}, ["Cluster"], {"bundle store", "Kubeflow"}),
        (None, {"records": "s3://cars/records"}, ["Laptop"], {"bucket cars"}),
        (None, {"prometheus_url": "http://prometheus.example"}, ["Laptop"], {"Prometheus"}),
    ],
)
def test_what_is_looked_at_follows_target_and_settings(tmp_path, target, settings, wanted, checks):
    found = parts.chosen(Settings(home=tmp_path, **settings), tmp_path, target)
    assert [part.name for part in found] == [*wanted, "Stores and services"]
    names = {check.name for check in found[-1].checks}
    assert checks <= names
    assert ("Kubeflow" in names) == ("Cluster" in wanted)
