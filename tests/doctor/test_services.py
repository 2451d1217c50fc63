"""What the doctor says of what is elsewhere: Git, S3, MLflow, Kubeflow, Prometheus, the server."""

import json

import pytest
from mlflow.version import VERSION
from pydantic import SecretStr

from roadworthy.core.settings import Settings
from roadworthy.doctor import parts, services, storage, variables
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing
from tests.parts.answering import Reply, answered_by

NOWHERE = "http://127.0.0.1:9"


def answering(**answers):
    """A server that answers a path, by its last part, with a status and a text."""

    def answer(asked):
        last = asked.path.partition("?")[0].rpartition("/")[2]
        status, text = answers.get(last, (404, ""))
        return Reply(status, text.encode())

    return answered_by(answer)


def of(settings, **changes):
    return settings.model_copy(update=changes)


class TestGit:
    @pytest.fixture
    def remote(self, git_server, seed):
        return git_server.make("cars.git", seed / "remote.git")

    def test_with_its_token(self, git_server, remote, tmp_path):
        settings = Settings(home=tmp_path, git_remote=remote, git_token=git_server.token)
        found = services.git_remote(settings)
        assert found.state == "ok"
        assert remote in found.told

    @pytest.mark.parametrize("token", ["", "glpat-wrong"], ids=["none", "wrong"])
    def test_with_another_token(self, remote, tmp_path, token):
        found = services.git_remote(Settings(home=tmp_path, git_remote=remote, git_token=token))
        assert found.state == "missing"
        assert "ROADWORTHY_GIT_TOKEN" in found.remedy
        assert "wrong" not in found.told + found.remedy

    def test_without_the_branch(self, git_server, remote, tmp_path):
        token = git_server.token
        settings = Settings(home=tmp_path, git_remote=remote, git_token=token, git_branch="old")
        found = services.git_remote(settings)
        assert (found.state, found.remedy) == ("missing", f"git push {remote} HEAD:refs/heads/old")

    def test_where_nothing_listens(self, tmp_path):
        found = services.git_remote(Settings(home=tmp_path, git_remote=f"{NOWHERE}/cars.git"))
        assert found.state == "missing"
        assert found.remedy == f"git ls-remote {NOWHERE}/cars.git"

    def test_with_a_password_in_its_address(self, tmp_path):
        address = "https://me:word@git.example/cars.git"
        found = services.git_remote(Settings(home=tmp_path, git_remote=address))
        assert found.state == "missing"
        assert "word@" not in found.told + found.remedy


class TestS3:
    @pytest.fixture
    def s3_here(self, s3, monkeypatch):
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        return s3

    def test_a_bucket_that_is_there(self, s3_here):
        assert storage.bucket(s3_here.bucket(), ["ROADWORTHY_RECORDS"]).state == "ok"

    def test_a_bucket_that_is_not_there(self, s3_here):
        found = storage.bucket("no-such-bucket", ["ROADWORTHY_RECORDS"])
        assert found.state == "missing"
        assert found.remedy == "aws s3api create-bucket --bucket no-such-bucket"

    def test_without_credentials(self, s3_here, monkeypatch):
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        found = storage.bucket("cars", ["ROADWORTHY_RECORDS"])
        assert (found.state, found.told) == ("missing", "there are no credentials")
        assert found.remedy.startswith("read -rs AWS_SECRET_ACCESS_KEY")

    def test_refused(self, s3_here, monkeypatch):
        with answering(cars=(403, "")) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            found = storage.bucket("cars", ["ROADWORTHY_RECORDS"])
        assert found.state == "missing"
        assert "refuses" in found.told

    def test_where_nothing_listens(self, s3_here, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
        found = storage.bucket("cars", ["ROADWORTHY_RECORDS"])
        assert found.state == "missing"
        assert found.remedy.startswith("export AWS_ENDPOINT_URL=")

    def test_a_store_is_tried_and_nothing_is_left_in_it(self, s3_here, tmp_path):
        bucket = s3_here.bucket()
        found = storage.bundle_store(Settings(home=tmp_path, bundle_store=f"s3://{bucket}/bundles"))
        assert found.state == "ok"
        assert s3_here.keys(bucket) == []
        assert "Uploads" not in s3_here._client().list_multipart_uploads(Bucket=bucket)

    def test_a_store_that_no_pod_reaches(self, tmp_path):
        found = storage.bundle_store(Settings(home=tmp_path))
        assert found.state == "missing"
        assert found.remedy.startswith("export ROADWORTHY_BUNDLE_STORE=")

    def test_the_data_in_a_bucket(self, s3_here, clone, tmp_path):
        bucket = s3_here.bucket()
        url = f"s3://{bucket}/dvc"
        settings = Settings(home=tmp_path, dvc_remote="s3", dvc_remote_url=url)
        [absent] = storage.data(settings, clone)
        assert absent.remedy == "dvc push --remote s3 data.csv.dvc"
        s3_here.write(bucket, "dvc/files/md5/a0/666d1ace9a0895d67d4796be989a05", b"")
        [there] = storage.data(settings, clone)
        assert (absent.state, there.state) == ("missing", "ok")

    def test_the_data_in_a_bucket_that_is_not_there(self, s3_here, clone, tmp_path):
        settings = Settings(home=tmp_path, dvc_remote="s3", dvc_remote_url="s3://nope-nope/dvc")
        [found] = storage.data(settings, clone)
        assert found.remedy == "aws s3api create-bucket --bucket nope-nope"

    def test_a_remote_that_nobody_configured(self, clone, tmp_path):
        [found] = storage.data(Settings(home=tmp_path, dvc_remote="other"), clone)
        assert found.remedy == "dvc remote add other URL"

    def test_each_bucket_has_a_line(self, tmp_path):
        settings = Settings(home=tmp_path, records="s3://a/records", bundle_store="s3://a/bundles")
        assert storage.buckets(settings) == {"a": ["ROADWORTHY_RECORDS", "ROADWORTHY_BUNDLE_STORE"]}


class TestRegistry:
    def test_that_no_run_made_yet(self, tmp_path):
        settings = Settings(home=tmp_path)
        assert services.registry(settings).state == "warning"
        assert [(one.state, one.remedy) for one in services.champions(settings)] == [
            ("warning", "roadworthy run fuel")
        ]
        assert not (tmp_path / "mlflow").exists()

    def test_with_a_champion(self, settings):
        from roadworthy.tracking.registry import Registry

        made = Registry.of(settings)
        run = made.log_candidate(
            *("fuel",), name="a", made_of="b", parameters={}, metrics={}, tags={}, figures={}
        )
        tags = {"promoted_by": "tester", "promoted_at": "2020-01-01T00:00:00+00:00"}
        version = made.register("fuel", run_id=run, digest="d", tags=tags)
        made.set_alias(version, "champion")
        assert services.registry(settings).state == "ok"
        [found] = services.champions(settings)
        assert found.state == "ok"
        assert "version 1, since" in found.told
        assert "days, by tester" in found.told

    def test_of_a_server(self, tmp_path):
        # A real one takes as long to start as all the tests here together.
        with answering(version=(200, VERSION), search=(200, "{}")) as url:
            found = services.registry(Settings(home=tmp_path, mlflow_tracking_uri=url))
        assert (found.state, found.told) == ("ok", f"MLflow {VERSION} at {url}")

    def test_of_another_version(self, tmp_path):
        with answering(version=(200, "2.0.0"), search=(200, "{}")) as url:
            found = services.registry(Settings(home=tmp_path, mlflow_tracking_uri=url))
        assert found.state == "warning"
        assert found.remedy.startswith("pip install mlflow==")

    def test_that_lets_nobody_in(self, tmp_path):
        with answering(version=(200, "3.17.2"), search=(401, "who are you?")) as url:
            found = services.registry(Settings(home=tmp_path, mlflow_tracking_uri=url))
        assert found.state == "missing"
        assert found.remedy == "export MLFLOW_TRACKING_USERNAME=NAME"

    @pytest.mark.parametrize("url", [NOWHERE, "http://[broken"], ids=["nowhere", "broken"])
    def test_where_nothing_listens(self, tmp_path, url):
        found = services.registry(Settings(home=tmp_path, mlflow_tracking_uri=url))
        assert found.state == "missing"
        assert found.remedy.startswith("export ROADWORTHY_MLFLOW_TRACKING_URI=")


class TestKubeflow:
    def test_that_is_not_named(self):
        found = services.kubeflow()
        assert found.state == "missing"
        assert found.remedy.startswith("export ROADWORTHY_KFP_URL=")

    def test_that_lets_one_in(self, kfp_api, monkeypatch):
        monkeypatch.setenv("ROADWORTHY_KFP_URL", kfp_api.url)
        assert services.kubeflow().state == "ok"

    def test_that_lets_nobody_in(self, kfp_api, monkeypatch):
        monkeypatch.setattr(kfp_api, "token", "the right one")
        monkeypatch.setenv("ROADWORTHY_KFP_URL", kfp_api.url)
        monkeypatch.setenv("ROADWORTHY_KFP_TOKEN", "another one")
        found = services.kubeflow()
        assert found.state == "missing"
        assert "another one" not in found.told
        assert "TOKEN" in found.remedy

    def test_where_nothing_listens(self, monkeypatch):
        monkeypatch.setenv("ROADWORTHY_KFP_URL", NOWHERE)
        assert services.kubeflow().state == "missing"

    @pytest.mark.parametrize(
        ("image", "state"),
        [
            ("", "warning"),
            ("registry.example/roadworthy/pipeline:latest", "missing"),
            (f"roadworthy/pipeline:{'0' * 40}", "missing"),
            (f"roadworthy/pipeline:{'4f0c' * 10}", "ok"),
            (f"registry.example:5000/pipeline@sha256:{'a' * 64}", "ok"),
        ],
        ids=["none", "latest", "null", "commit", "digest"],
    )
    def test_of_the_image(self, tmp_path, image, state):
        assert services.image(Settings(home=tmp_path, image=image)).state == state


class TestPrometheus:
    def found(self, tmp_path, url):
        return services.prometheus(Settings(home=tmp_path, prometheus_url=url))

    def test_that_is_not_named(self, tmp_path):
        assert self.found(tmp_path, "").state == "warning"

    @pytest.mark.parametrize(
        ("answer", "state"),
        [
            ((200, json.dumps({"status": "success"})), "ok"),
            ((200, json.dumps({"status": "error"})), "missing"),
            ((200, "[]"), "missing"),
            ((200, "<html>"), "missing"),
            ((503, ""), "missing"),
        ],
        ids=["well", "error", "list", "page", "503"],
    )
    def test_that_answers(self, tmp_path, answer, state):
        with answering(query=answer) as url:
            assert self.found(tmp_path, url).state == state

    def test_where_nothing_listens(self, tmp_path):
        assert self.found(tmp_path, NOWHERE).state == "missing"


class TestServer:
    def test_that_answers(self, served_home, packed, clone):
        released = Release(3, str(packed.path), packed.digest, "2026-01-01T00:00:00+00:00")
        routes.write(served_home.routing, Routing("fuel", champion=released))
        found = services.model_server(served_home)
        assert found.state == "ok"
        assert served_home.serving_url in found.told
        # And it was started without the page
        assert services.page(served_home, clone).state == "warning"

    def test_that_does_not_answer(self, tmp_path, clone):
        settings = Settings(home=tmp_path, serving_url=NOWHERE)
        for found in (services.model_server(settings), services.page(settings, clone)):
            assert (found.state, found.remedy) == ("missing", "roadworthy serve")

    def test_that_demands_a_token(self, tmp_path):
        with answering(live=(200, "{}"), models=(401, "{}")) as url:
            found = services.model_server(Settings(home=tmp_path, serving_url=url))
        assert found.state == "missing"
        assert "ROADWORTHY_TOKEN" in found.remedy

    def test_that_was_killed(self, tmp_path):
        (tmp_path / "server.lock").touch()
        (tmp_path / "server.url").write_text(NOWHERE)
        assert services.model_server(Settings(home=tmp_path)).state == "warning"


@pytest.mark.parametrize(
    ("value", "shared"),
    [
        ("https://git.example/cars.git", True),
        ("git@git.example:cars.git", True),
        ("git.example:group/cars.git", True),
        ("ssh://git@git.example/cars.git", True),
        ("s3://cars/dvc", True),
        ("postgresql+psycopg2://mlflow@db.example/mlflow", True),
        ("", False),
        ("embedded", False),
        ("/home/me/cars/.roadworthy/remote.git", False),
        ("/home/me/a:b/remote.git", False),
        ("file:///home/me/remote.git", False),
        ("sqlite:////home/me/mlflow.db", False),
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
            return looked(parts.others(of(home, **changes), clone, target))

        return look

    @pytest.mark.parametrize(
        ("line", "variable"),
        [
            ("Git remote", "ROADWORTHY_GIT_REMOTE="),
            ("registry", "ROADWORTHY_MLFLOW_TRACKING_URI="),
            ("DVC remote", "ROADWORTHY_DVC_REMOTE=s3"),
            ("records", "ROADWORTHY_RECORDS=s3://"),
            ("bundle store", "ROADWORTHY_BUNDLE_STORE=s3://"),
        ],
    )
    def test_what_is_on_the_laptop_is_missing(self, found, line, variable):
        one = found("cluster")[line]
        assert (one.state, one.remedy.startswith(f"export {variable}")) == ("missing", True)
        assert "pod" in one.told

    def test_a_remote_of_the_clone_by_another_name_is_missing_too(self, found, clone):
        with (clone / ".dvc" / "config").open("a") as file:
            file.write("['remote \"disk\"']\n    url = /mnt/disk\n")
        one = found("cluster", dvc_remote="disk", dvc_remote_url="")["DVC remote"]
        assert one.state == "missing"
        assert "disk, which is /mnt/disk, is on this machine" in one.told

    def test_on_a_laptop_it_is_well(self, found):
        told = found("laptop")
        assert {name for name, one in told.items() if one.state == "missing"} == set()
        assert told["data.csv"].state == "ok"

    def test_what_is_elsewhere_is_looked_at(self, found, git_server, seed, s3, monkeypatch):
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        remote = git_server.make("shared.git", seed / "remote.git")
        bucket = s3.bucket()
        with answering(version=(200, VERSION), search=(200, "{}")) as url:
            told = found(
                "cluster",
                git_remote=remote,
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


def names(part):
    return [check.name for check in part.checks]


@pytest.mark.parametrize("target", ["laptop", "cluster", "all"])
def test_what_is_looked_at_follows_what_is_asked(tmp_path, target):
    found = parts.chosen(Settings(home=tmp_path), tmp_path, target)
    wanted = {"laptop": ["Laptop"], "cluster": ["Cluster"], "all": ["Laptop", "Cluster"]}[target]
    assert [part.name for part in found] == [*wanted, "Stores and services"]
    assert ("Kubeflow" in names(found[-1])) == (target != "laptop")


def test_what_is_looked_at_follows_the_settings(tmp_path, monkeypatch):
    chosen = Settings(
        home=tmp_path,
        target="kserve",
        records="s3://cars/records",
        prometheus_url="http://prometheus.example",
    )
    found = parts.chosen(chosen, tmp_path, None)
    assert [part.name for part in found] == ["Cluster", "Stores and services"]
    assert {"bucket cars", "bundle store", "Kubeflow", "Prometheus"} <= set(names(found[-1]))
    # And on a laptop what its settings name
    monkeypatch.setenv("ROADWORTHY_KFP_URL", NOWHERE)
    local = parts.chosen(of(chosen, target="local"), tmp_path, None)
    assert local[0].name == "Laptop"
    assert {"bucket cars", "Kubeflow", "Prometheus"} <= set(names(local[-1]))
