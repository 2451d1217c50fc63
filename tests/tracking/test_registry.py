"""What is recorded is recorded once, found again, and every failure is a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from roadworthy.review.lineage import lineage
from roadworthy.tracking.registry import Registry, RegistryError
from tests.candidate import CANDIDATE


@pytest.fixture
def registry(settings):
    return Registry(settings.mlflow_tracking_uri, settings.mlflow_artifacts)


@pytest.fixture
def client(settings):
    return MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)


@pytest.fixture
def run(registry):
    return registry.log_candidate("fuel", **CANDIDATE)


def runs(client):
    experiment = client.get_experiment_by_name("fuel").experiment_id
    return client.search_runs([experiment])


def is_logged_once(client, run):
    (found,) = runs(client)
    assert (found.info.run_id, found.info.status) == (run, "FINISHED")
    assert found.data.metrics["cv_r2"] == 0.85
    assert len(client.get_metric_history(run, "cv_r2")) == 1
    assert found.data.params == {"degree": "2", "kernel": "rbf"}
    assert found.data.tags["commit"] == "c1"
    assert [file.path for file in client.list_artifacts(run, "figures")] == [
        "figures/residuals.png"
    ]


def test_a_candidate_recorded_twice_is_one_run(registry, client, run):
    assert registry.log_candidate("fuel", **CANDIDATE) == run

    is_logged_once(client, run)


@pytest.mark.parametrize("step", ["log_batch", "log_artifacts", "set_terminated"])
def test_an_interrupted_recording_is_finished_by_the_next(registry, client, step, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*arguments, **named):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, die)
        with pytest.raises(Killed):
            registry.log_candidate("fuel", **CANDIDATE)

    is_logged_once(client, registry.log_candidate("fuel", **CANDIDATE))


def test_another_source_and_another_candidate_are_other_runs(registry, client, run):
    registry.log_candidate("fuel", **CANDIDATE | {"made_of": "r2"})
    registry.log_candidate("fuel", **CANDIDATE | {"name": "ridge"})

    assert len(runs(client)) == 3


def test_metrics_and_verdict_lie_in_the_artifacts_directory(registry, settings, run):
    registry.log_files(run, {"gate/verdict.json": b"{}"})

    directory = Path(settings.mlflow_artifacts) / "fuel" / run / "artifacts"
    assert (directory / "figures" / "residuals.png").read_bytes() == b"\x89PNG"
    assert (directory / "gate" / "verdict.json").read_bytes() == b"{}"


def test_a_home_whose_name_has_spaces_and_signs_works(empty_registry, tmp_path):
    home = tmp_path / "my cars & co 100"
    home.mkdir()
    (home / "mlflow.db").write_bytes((empty_registry / "mlflow.db").read_bytes())
    registry = Registry(f"sqlite:///{home}/mlflow.db", str(home / "artifacts"))

    run = registry.log_candidate("fuel", **CANDIDATE)

    assert (home / "artifacts/fuel" / run / "artifacts/figures/residuals.png").exists()


def test_a_database_whose_making_was_stopped_is_made_again(tmp_path):
    # given what a stop in the midst of it leaves
    (tmp_path / "mlflow.new").write_bytes(b"SQLite format 3\0 and no more")
    # when it is opened
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"))
    # then it works, and nothing is left beside it
    assert registry.models() == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_one_digest_is_one_version_with_the_tags_of_the_first(registry, run):
    first = registry.register("fuel", run_id=run, digest="abc", tags={"source_fingerprint": "r1"})

    again = registry.register("fuel", run_id=run, digest="abc", tags={"source_fingerprint": "r2"})

    assert (first.number, first.git_tag, first.run_id) == (1, "fuel-v1", run)
    assert again == first
    assert again.tags == {"digest": "abc", "source_fingerprint": "r1"}


def test_versions_come_newest_first_beyond_nine(registry, run):
    for number in range(11):
        registry.register("fuel", run_id=run, digest=f"digest {number}", tags={})

    assert [version.number for version in registry.versions("fuel")] == list(range(11, 0, -1))
    assert registry.models() == ["fuel"]


def test_models_of_others_are_not_ours_however_many_there_are(registry, client, run):
    # given a registry in which others have registered more models than a page holds
    for number in range(101):
        client.create_registered_model(f"company-{number:03}")
    client.create_model_version("company-000", "elsewhere", run)
    registry.register("fuel", run_id=run, digest="a", tags={})

    assert registry.models() == ["fuel"]


def test_aliases_move_and_are_dropped(registry, run):
    one, two = (registry.register("fuel", run_id=run, digest=d, tags={}) for d in "ab")
    registry.set_alias(one, "champion")
    registry.set_alias(two, "challenger")

    registry.set_alias(two, "champion")
    assert registry.aliased("fuel", "champion").number == 2
    assert registry.version("fuel", 1).aliases == ()
    assert registry.version("fuel", 2).aliases == ("challenger", "champion")

    registry.drop_alias("fuel", "challenger")
    registry.drop_alias("fuel", "challenger")
    assert registry.aliased("fuel", "challenger") is None
    assert registry.find("fuel").number == 2


def test_an_alias_that_moves_meanwhile_still_names_a_version(registry, run, monkeypatch):
    # given a champion, and another that is made and takes its place after the first request
    registry.set_alias(registry.register("fuel", run_id=run, digest="a", tags={}), "champion")
    requests = []

    def then_moved(ask):
        def asked(*arguments, **named):
            answer = ask(*arguments, **named)
            requests.append(ask)
            if len(requests) == 1:
                other = registry.register("fuel", run_id=run, digest="b", tags={})
                registry.set_alias(other, "champion")
            return answer

        return asked

    for name in ("search_model_versions", "get_registered_model"):
        monkeypatch.setattr(MlflowClient, name, then_moved(getattr(MlflowClient, name)))
    # when the champion is asked for, then it is one of the two and never none
    assert registry.aliased("fuel", "champion").number in (1, 2)
    assert len(requests) > 1
    assert registry.aliased("fuel", "champion").number == 2


def test_references_find_versions(registry, run):
    one, two = (registry.register("fuel", run_id=run, digest=d, tags={}) for d in "ab")
    registry.set_alias(one, "champion")
    registry.set_alias(two, "challenger")

    assert registry.find("fuel", "@champion").number == 1
    assert registry.find("fuel", "@challenger").number == 2
    assert registry.find("fuel", ":2").number == 2


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (":7", "There is no version 7 of fuel; there are: 1."),
        ("@champion", "fuel has no champion yet"),
        ("@best", "write fuel, fuel@champion"),
        (":one", "names no version"),
        (":-1", "names no version"),
        ("", "names no version"),
    ],
)
def test_an_unknown_reference_is_a_sentence(registry, run, reference, words):
    registry.register("fuel", run_id=run, digest="a", tags={})

    with pytest.raises(RegistryError) as caught:
        registry.find("fuel", reference)

    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


def test_of_a_model_that_is_not_registered_there_is_nothing(registry):
    assert registry.versions("fuel") == []
    assert registry.aliased("fuel", "champion") is None
    with pytest.raises(RegistryError, match="there are: none"):
        registry.version("fuel", 1)


def test_tags_are_set_and_replaced_whatever_is_in_them(registry, run):
    version = registry.register("fuel", run_id=run, digest="a", tags={})
    odd = "it's \"90 %\" <b>\n'; drop table tags; -- ±" * 20

    registry.tag(version, {"rolled_back": odd, "promoted_by": "a"})
    registry.tag(version, {"promoted_by": "b"})

    tags = registry.version("fuel", 1).tags
    assert (tags["rolled_back"], tags["promoted_by"]) == (odd, "b")


def test_lineage_names_the_origin_and_the_metrics(registry, run):
    told = {"commit": "c1", "data_hash": "d1", "gate": "passed", "promoted_by": "someone"}
    version = registry.register("fuel", run_id=run, digest="abc", tags=told)
    registry.set_alias(version, "champion")

    found = lineage(registry, "fuel", "@champion")

    assert found["git_tag"] == "fuel-v1"
    assert (found["commit"], found["data_hash"], found["bundle"]) == ("c1", "d1", "abc")
    assert (found["mlflow_run"], found["aliases"]) == (run, ["champion"])
    assert found["metrics"]["cv_r2"] == 0.85
    assert (found["gate"], found["promoted_by"], found["rolled_back"]) == ("passed", "someone", "")
    with pytest.raises(RegistryError, match="no version 9"):
        lineage(registry, "fuel", ":9")


def test_a_deleted_experiment_is_a_sentence(registry, client, run):
    client.delete_experiment(client.get_experiment_by_name("fuel").experiment_id)

    with pytest.raises(RegistryError) as caught:
        registry.log_candidate("fuel", **CANDIDATE)

    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9",
        "http://user:secret@127.0.0.1:9",
        "http://127.0.0.1:port",
        "sqlite:////proc/nowhere/mlflow.db",
        "carrier-pigeon://loft",
    ],
)
def test_an_address_where_nothing_answers_is_a_sentence(address, tmp_path):
    with pytest.raises(RegistryError) as caught:
        Registry(address, str(tmp_path))

    sentence = str(caught.value)
    assert "does not answer" in sentence
    assert "ROADWORTHY_MLFLOW_TRACKING_URI" in sentence
    assert "secret" not in sentence
    assert "\n" not in sentence


def test_a_file_that_is_no_database_is_a_sentence(tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_text("no database" * 1000)

    with pytest.raises(RegistryError, match="file is not a database"):
        Registry(f"sqlite:///{file}", str(tmp_path))


def test_what_fails_in_the_middle_is_a_sentence(registry, monkeypatch):
    def fail(*arguments, **named):
        raise MlflowException("Connection reset.\nTraceback of the server")

    monkeypatch.setattr(MlflowClient, "search_model_versions", fail)
    with pytest.raises(RegistryError) as caught:
        registry.versions("fuel")

    assert "(Connection reset)" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_that_make_a_registry_and_register_at_once_lose_nothing(tmp_path):
    code = (
        "import sys; "
        "from roadworthy.tracking.registry import Registry; uri, place, digest = sys.argv[1:]; "
        "registry = Registry(uri, place); "
        "run = registry.log_candidate('fuel', name=digest, made_of='r', parameters={}, metrics={}, "
        "tags={}, figures={}); "
        "print(registry.register('fuel', run_id=run, digest=digest, tags={}).number)"
    )
    uri, place = f"sqlite:///{tmp_path}/new/mlflow.db", str(tmp_path / "artifacts")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, uri, place, digest], stdout=subprocess.PIPE, text=True
        )
        for digest in ("first", "second")
    ]
    numbers = [int(process.communicate()[0]) for process in processes]

    assert sorted(numbers) == [1, 2]
    versions = Registry(uri, place).versions("fuel")
    assert {version.tags["digest"]: version.number for version in versions} == {
        "first": numbers[0],
        "second": numbers[1],
    }
