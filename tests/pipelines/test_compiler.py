"""What is committed is what compiles, says nothing of a machine, and is what an engine takes."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from roadworthy.engines.kubeflow.secrets import SECRETS
from roadworthy.models import contract

ROOT = Path(__file__).parents[2]
MODELS = contract.available()
MODEL = MODELS[0]

sys.path.append(str(ROOT))

from pipelines import cluster, compiler  # noqa: E402


def committed(model):
    return (ROOT / "pipelines" / f"{model}.yaml").read_text()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a copy of the committed pipeline, where compiling takes no time."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / f"{MODEL}.yaml").write_text(committed(MODEL))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        compiler,
        "compiled",
        lambda model, image: committed(model).replace(compiler.IMAGE, image),
    )
    return tmp_path / "pipelines" / f"{MODEL}.yaml"


@pytest.fixture
def run(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["compiler", *arguments])
        return compiler.main()

    return call


def strings(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_every_model_has_a_pipeline_and_every_pipeline_a_model():
    assert {file.stem for file in (ROOT / "pipelines").glob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_a_fresh_compilation_equals_what_is_committed(model):
    assert compiler.compiled(model) == committed(model)


@pytest.mark.parametrize("model", MODELS)
def test_it_is_a_pipeline_that_an_engine_takes_and_that_can_be_reviewed(model):
    first, second = yaml.safe_load_all(committed(model))
    spec = json_format.ParseDict(first, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(second, pipeline_spec_pb2.PlatformSpec())

    assert spec.pipeline_info.name == f"{model}-production"
    steps = {name.removeprefix("exec-") for name in dict(spec.deployment_spec["executors"])}
    assert steps == set(cluster.NEEDS)
    inputs = spec.root.input_definitions.parameters
    assert set(inputs) == {"commit", "trigger", "force", "strategy", "candidate"}
    assert all(given.is_optional for given in inputs.values())
    assert len(committed(model).splitlines()) <= 1000


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
    spec = next(yaml.safe_load_all(committed(model)))

    def pods(graph):
        count = 1
        for task in graph["tasks"].values():
            inner = spec["components"][task["componentRef"]["name"]]
            if "dag" not in inner:
                count += 2
            elif "condition" in task.get("triggerPolicy", {}):
                count += pods(inner["dag"]) if branches[task["taskInfo"]["name"]] else 1
            else:
                count += pods(inner["dag"])
        return count

    assert pods(spec["root"]["dag"]) <= at_most


@pytest.mark.parametrize("model", MODELS)
def test_it_holds_no_place_no_address_and_no_secret(model):
    text = committed(model)
    values = [one for document in yaml.safe_load_all(text) for one in strings(document)]
    known = {*SECRETS, *(key for keys in SECRETS.values() for key in keys)}

    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.$/:-])/(home|root|work|tmp|usr|var|Users|mnt|opt)/", text)
    assert not re.search(r"[a-z][a-z0-9+]*://", text)
    assert not re.search(r"(?<![\w.])\d{1,3}(\.\d{1,3}){3}(?![\w.])", text)
    places = {one for one in values if one.startswith(("/", "~"))}
    assert places == {f"{cluster.MOUNT}/{name}" for name in (cluster.CONFIG_MAP, *SECRETS)}
    for word in ("secretAsVolume", "secretName", "secretNameParameter", *known):
        text = re.sub(rf"(?<![\w-]){word}(?![\w-])", "", text)
    assert not re.search(r"(?i)(password|passwd|secret|token|api_?key|credential)", text)


def test_the_command_compiles_for_an_image_to_another_file(place, run, capsys):
    chosen = "registry.example:5000/team/pipeline@sha256:" + "ab" * 32
    before = place.read_text()

    assert run("--image", chosen, "--output", "there.yaml", MODEL) == 0

    assert capsys.readouterr().out == "Compiled there.yaml\n"
    assert before.count(compiler.IMAGE) == len(cluster.NEEDS)
    assert Path("there.yaml").read_text() == before.replace(compiler.IMAGE, chosen)
    assert place.read_text() == before


@pytest.mark.parametrize("image", ["registry.example/pipeline:latest", f"-x:{'0' * 40}"])
def test_the_command_refuses_an_image_that_may_be_another_tomorrow(place, run, capsys, image):
    before = place.read_text()

    assert run(f"--image={image}", MODEL) == 1

    assert "is not pinned" in capsys.readouterr().err
    assert place.read_text() == before


def test_one_file_is_of_one_model(place, run, capsys):
    with pytest.raises(SystemExit) as left:
        run("--output", "there.yaml", "one", "other")

    assert left.value.code == 2
    assert "--output is of one model" in capsys.readouterr().err


def test_a_file_that_is_old_or_missing_is_told_and_compiled_again(place, run, capsys):
    current = place.read_text()
    assert run("--check", MODEL) == 0
    place.write_text(current + "# old\n")

    assert run("--check", MODEL) == 1
    assert f"pipelines/{MODEL}.yaml is not up to date" in capsys.readouterr().err
    assert place.read_text() != current
    place.unlink()
    assert run("--check", MODEL) == 1
    assert run(MODEL) == 0

    assert f"Compiled pipelines/{MODEL}.yaml" in capsys.readouterr().out
    assert place.read_text() == current


@pytest.mark.parametrize("target", [".", "nowhere/there.yaml", "/dev/full"])
def test_a_file_that_cannot_be_written_is_a_sentence(place, run, capsys, target):
    assert run(f"--output={target}", MODEL) == 1

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"Error: {target} cannot be written (")
    assert told.err.count("\n") == 1
