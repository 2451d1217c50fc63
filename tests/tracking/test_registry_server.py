"""The registry's promises at an MLflow server that keeps them in PostgreSQL and S3."""

import secrets
import subprocess
import sys

import pytest
from mlflow.tracking import MlflowClient

from roadworthy.core.settings import Settings
from roadworthy.tracking.champion import champion
from roadworthy.tracking.registry import Registry, RegistryError
from tests.candidate import CANDIDATE
from tests.together import at_once

pytestmark = pytest.mark.slow

ROUNDS = 4


@pytest.fixture(autouse=True)
def variables(mlflow, s3, monkeypatch):
    for name, value in (s3.environment() | mlflow.environment()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture
def registry(mlflow, tmp_path) -> Registry:
    return Registry(mlflow.url, str(tmp_path / "artifacts"))


@pytest.fixture
def model() -> str:
    """A name that no other test has: they share the server."""
    return f"cars-{secrets.token_hex(4)}"


@pytest.fixture
def storage(mlflow):
    yield mlflow.storage
    mlflow.storage.mend()


def figures(client: MlflowClient, run: str) -> list[str]:
    return [file.path for file in client.list_artifacts(run, "figures")]


def test_a_candidate_recorded_twice_is_one_run_whose_metrics_are_in_s3(
    registry, model, mlflow, s3, tmp_path
):
    run = registry.log_candidate(model, **CANDIDATE)

    assert registry.log_candidate(model, **CANDIDATE) == run

    client = MlflowClient(mlflow.url)
    (found,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert (found.info.run_id, found.info.status) == (run, "FINISHED")
    assert found.data.metrics["cv_r2"] == 0.85
    assert len(client.get_metric_history(run, "cv_r2")) == 1
    assert found.data.params == {"degree": "2", "kernel": "rbf"}
    assert found.data.tags["commit"] == "c1"
    kept = [key for key in s3.keys(mlflow.bucket) if run in key]
    assert [s3.read(mlflow.bucket, key) for key in kept] == [b"\x89PNG"]
    assert not (tmp_path / "artifacts").exists(), "a directory here is nothing to a server"


def test_versions_aliases_and_tags_are_as_on_sqlite(registry, model):
    run = registry.log_candidate(model, **CANDIDATE)
    one, two = (registry.register(model, run_id=run, digest=d, tags={"r": d}) for d in "ab")
    odd = "it's \"90 %\" <b>\n'; drop table tags; -- ±" * 20

    assert registry.register(model, run_id=run, digest="a", tags={"r": "c"}) == one
    registry.tag(one, {"rolled_back": odd})
    registry.set_alias(one, "champion")
    registry.set_alias(two, "champion")
    registry.set_alias(two, "challenger")
    registry.drop_alias(model, "challenger")
    registry.drop_alias(model, "challenger")

    assert [found.number for found in registry.versions(model)] == [2, 1]
    assert registry.version(model, 1).tags == {"digest": "a", "r": "a", "rolled_back": odd}
    assert registry.find(model, "@champion").number == 2
    assert registry.find(model, "@champion").aliases == ("champion",)
    assert registry.find(model, ":1").git_tag == f"{model}-v1"
    assert registry.metrics(two)["cv_r2"] == 0.85
    assert model in registry.models()
    with pytest.raises(RegistryError, match="there are: 2, 1"):
        registry.version(model, 7)


def test_two_that_register_the_same_bundle_at_once_make_one_version(mlflow, model):
    registries = [Registry(mlflow.url, "") for _ in range(2)]
    run = registries[0].log_candidate(model, **CANDIDATE)

    made = at_once(
        *(
            lambda registry=registry: registry.register(model, run_id=run, digest="a", tags={})
            for registry in registries
        )
    )

    assert {version.number for version in made} == {1}
    assert [version.number for version in registries[0].versions(model)] == [1]


@pytest.mark.parametrize("kind", ["403", "500", "drop"])
def test_when_the_servers_s3_fails_it_is_told_and_the_next_try_ends_well(
    registry, model, mlflow, storage, kind
):
    fault = storage.break_(kind, method="PUT|POST")

    with pytest.raises(RegistryError) as caught:
        registry.log_candidate(model, **CANDIDATE)

    told = str(caught.value)
    assert fault.hits
    assert "\n" not in told
    assert "its server could not reach the store of its artifacts" in told
    storage.mend()
    run = registry.log_candidate(model, **CANDIDATE)
    assert figures(MlflowClient(mlflow.url), run) == ["figures/residuals.png"]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("403", r"S3 refuses the credentials \(AccessDenied at PutObject\)"),
        ("500", r"S3 has an internal error \(InternalError at PutObject\)"),
        ("drop", "the connection to S3 broke"),
    ],
)
def test_when_our_own_s3_fails_it_is_told_and_the_next_try_ends_well(
    mlflow, model, s3, proxy, monkeypatch, kind, cause
):
    # given artifacts that go to S3 directly
    bucket, before = s3.bucket(), proxy(s3.url)
    # MLflow keeps its client of an address for a while; this one is asked for by name.
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", before.url)
    registry = Registry(mlflow.url, f"s3://{bucket}/artifacts")
    before.break_(kind, method="PUT|POST")

    with pytest.raises(RegistryError, match=rf"\({cause}\)\. .*") as caught:
        registry.log_candidate(model, **CANDIDATE)

    assert "\n" not in str(caught.value)
    before.mend()
    run = registry.log_candidate(model, **CANDIDATE)
    assert s3.keys(bucket) == [f"artifacts/{model}/{run}/artifacts/figures/residuals.png"]


@pytest.mark.parametrize("kind", ["500", "drop", "half body", "lose answer"])
def test_when_the_server_fails_it_is_told_and_the_next_try_ends_well(mlflow, model, proxy, kind):
    before = proxy(mlflow.url)
    registry = Registry(before.url, "")
    before.break_(kind, method="POST", path="runs/log-batch")

    with pytest.raises(RegistryError) as caught:
        registry.log_candidate(model, **CANDIDATE)

    told = str(caught.value)
    assert "Check ROADWORTHY_MLFLOW_TRACKING_URI" in told
    assert "\n" not in told
    before.mend()
    run = registry.log_candidate(model, **CANDIDATE)
    client = MlflowClient(mlflow.url)
    (found,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert (found.info.run_id, found.info.status) == (run, "FINISHED")
    assert len(client.get_metric_history(run, "cv_r2")) == 1


def test_a_server_that_refuses_the_password_is_told_without_it(mlflow, proxy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    before = proxy(mlflow.url)
    before.break_("403")

    with pytest.raises(RegistryError) as caught:
        Registry(before.url, "")

    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_two_processes_that_begin_a_model_at_once_lose_nothing(mlflow, model):
    code = (
        "import sys; "
        "from roadworthy.tracking.registry import Registry; uri, model, digest = sys.argv[1:]; "
        "registry = Registry(uri, ''); "
        "run = registry.log_candidate(model, name=digest, made_of='r', parameters={}, metrics={}, "
        "tags={}, figures={}); "
        "print(registry.register(model, run_id=run, digest=digest, tags={}).number)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, mlflow.url, model, digest],
            stdout=subprocess.PIPE,
            text=True,
        )
        for digest in ("first", "second")
    ]
    numbers = [int(process.communicate()[0]) for process in processes]

    assert sorted(numbers) == [1, 2]
    versions = Registry(mlflow.url, "").versions(model)
    assert {version.tags["digest"]: version.number for version in versions} == {
        "first": numbers[0],
        "second": numbers[1],
    }


def test_the_champion_is_looked_up_at_a_server(registry, model, mlflow):
    settings = Settings(mlflow_tracking_uri=mlflow.url)
    assert champion(settings, model)[:2] == (0, "")
    run = registry.log_candidate(model, **CANDIDATE)
    made = registry.register(model, run_id=run, digest="d", tags={"source_fingerprint": "r"})
    registry.set_alias(made, "champion")

    assert champion(settings, model)[:2] == (1, "r")
