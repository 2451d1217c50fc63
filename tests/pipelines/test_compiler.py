"""What is committed is what compiles, says nothing of a machine, and is what an engine takes."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from roadworthy.models import contract

ROOT = Path(__file__).parents[2]
MODELS = contract.available()

sys.path.append(str(ROOT))

from pipelines import cluster, compiler  # noqa: E402


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a copy of the committed pipelines."""
    (tmp_path / "pipelines").mkdir()
    for file in (ROOT / "pipelines").glob("*.yaml"):
        shutil.copyfile(file, tmp_path / "pipelines" / file.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pipelines"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compiler", *arguments])
    return compiler.main()


def parsed(file):
    """Return the pipeline and, if there is one, its platform's part."""
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    kinds = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    documents = yaml.safe_load_all(file.read_text())
    return [
        json_format.ParseDict(document, kind())
        for document, kind in zip(documents, kinds, strict=True)
    ]


def test_every_model_has_a_pipeline_and_every_pipeline_a_model():
    assert {file.stem for file in (ROOT / "pipelines").glob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_a_fresh_compilation_equals_what_is_committed(model, tmp_path):
    compiler.compile_pipeline(model, tmp_path / f"{model}.yaml")

    fresh = (tmp_path / f"{model}.yaml").read_bytes()
    assert fresh == (ROOT / "pipelines" / f"{model}.yaml").read_bytes()


@pytest.mark.parametrize("model", MODELS)
def test_it_is_a_pipeline_that_an_engine_takes(model):
    spec = parsed(ROOT / "pipelines" / f"{model}.yaml")[0]

    assert spec.pipeline_info.name == f"{model}-production"
    executors = spec.deployment_spec["executors"]
    assert {name.removeprefix("exec-") for name in executors.keys()} == set(  # noqa: SIM118
        cluster.NEEDS
    )
    inputs = spec.root.input_definitions.parameters
    assert set(inputs) == {"run", "commit", "trigger", "force", "strategy", "model"}
    assert inputs["model"].default_value.string_value == model
    assert all(given.is_optional for given in inputs.values())


@pytest.mark.parametrize(
    ("branches", "at_most"),
    [
        ({"Something is new": True, "Passed": True, "Good": True, "Failed": False}, 26),
        ({"Something is new": False}, 7),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_a_run_takes_few_pods(model, branches, at_most):
    """A pod for each step, and a driver for each step and each graph, whether taken or not."""
    spec = parsed(ROOT / "pipelines" / f"{model}.yaml")[0]

    def pods(graph):
        count = 1
        for task in graph.tasks.values():
            inner = spec.components[task.component_ref.name]
            if not inner.HasField("dag"):
                count += 2
            elif task.trigger_policy.condition and not branches[task.task_info.name]:
                count += 1
            else:
                count += pods(inner.dag)
        return count

    assert pods(spec.root.dag) <= at_most


@pytest.mark.parametrize("model", MODELS)
def test_it_holds_no_place_and_no_address(model):
    text = (ROOT / "pipelines" / f"{model}.yaml").read_text()

    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.$/:-])/(home|root|work|tmp|usr|var|Users|mnt|opt)/", text)
    assert not re.search(r"[a-z][a-z0-9+]*://", text)
    assert not re.search(r"(?<![\w.])\d{1,3}(\.\d{1,3}){3}(?![\w.])", text)


@pytest.mark.parametrize("model", MODELS)
def test_no_value_in_it_is_an_absolute_path(model):
    def strings(value):
        if isinstance(value, dict):
            for inner in value.values():
                yield from strings(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from strings(inner)
        elif isinstance(value, str):
            yield value

    found = yaml.safe_load_all((ROOT / "pipelines" / f"{model}.yaml").read_text())
    values = [text for document in found for text in strings(document)]

    assert len(values) > 100
    assert [text for text in values if text.startswith(("/", "~"))] == []


@pytest.mark.parametrize("model", MODELS)
def test_it_holds_no_secret_but_names_of_secrets_and_their_keys(model):
    text = (ROOT / "pipelines" / f"{model}.yaml").read_text()
    names = {*cluster.SECRETS, *(key for keys in cluster.SECRETS.values() for key in keys)}

    for word in ("secretAsEnv", "secretKey", "secretName", "secretNameParameter", *names):
        text = re.sub(rf"(?<![\w-]){word}(?![\w-])", "", text)

    assert not re.search(r"(?i)(password|passwd|secret|token|api_?key|credential)", text)


def test_the_command_compiles_for_an_image_to_another_file(place, monkeypatch, capsys):
    chosen = "registry.example:5000/team/pipeline@sha256:" + "ab" * 32
    null = f"roadworthy/pipeline:{'0' * 40}"
    committed = (place / f"{MODELS[0]}.yaml").read_text()

    assert run(monkeypatch, "--image", chosen, "--output", "there.yaml", MODELS[0]) == 0

    assert capsys.readouterr().out == "Compiled there.yaml\n"
    assert committed.count(null) == len(cluster.NEEDS)
    assert Path("there.yaml").read_text() == committed.replace(null, chosen)
    assert (place / f"{MODELS[0]}.yaml").read_text() == committed


def test_the_command_refuses_an_image_that_may_be_another_tomorrow(place, monkeypatch, capsys):
    before = (place / f"{MODELS[0]}.yaml").read_bytes()

    assert run(monkeypatch, "--image", "registry.example/pipeline:latest", MODELS[0]) == 1

    assert "is not pinned" in capsys.readouterr().err
    assert (place / f"{MODELS[0]}.yaml").read_bytes() == before


def test_one_file_is_of_one_model(place, monkeypatch, capsys):
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, "--output", "there.yaml", "one", "other")

    assert left.value.code == 2
    assert "--output is of one model" in capsys.readouterr().err


def test_the_command_tells_an_old_file_and_changes_nothing(place, monkeypatch, capsys):
    assert run(monkeypatch, "--check", *MODELS) == 0
    assert capsys.readouterr() == ("", "")

    old = place / f"{MODELS[0]}.yaml"
    old.write_text(old.read_text() + "# old\n")
    before = old.read_bytes()

    assert run(monkeypatch, "--check", *MODELS) == 1
    assert f"pipelines/{MODELS[0]}.yaml is not up to date" in capsys.readouterr().err
    assert old.read_bytes() == before


def test_the_command_compiles_what_is_missing_or_old(place, monkeypatch, capsys):
    (place / f"{MODELS[0]}.yaml").unlink()
    assert run(monkeypatch, "--check", MODELS[0]) == 1

    assert run(monkeypatch, MODELS[0]) == 0

    assert f"Compiled pipelines/{MODELS[0]}.yaml" in capsys.readouterr().out
    assert run(monkeypatch, "--check", MODELS[0]) == 0


def test_a_model_that_is_not_there_is_no_silent_success(place, monkeypatch):
    assert run(monkeypatch, "--check", "nothing") == 1


@pytest.mark.parametrize("target", [".", "nowhere/there.yaml", "/dev/full"])
def test_a_file_that_cannot_be_written_is_a_sentence(place, monkeypatch, capsys, target):
    assert run(monkeypatch, f"--output={target}", MODELS[0]) == 1

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"Error: {target} cannot be written (")
    assert told.err.count("\n") == 1


def test_a_strange_image_is_refused_as_an_image(place, monkeypatch, capsys):
    assert run(monkeypatch, f"--image=-x:{'0' * 40}", MODELS[0]) == 1

    assert "is not pinned" in capsys.readouterr().err
