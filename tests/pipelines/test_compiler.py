"""What is committed is what compiles, says nothing of a machine, and is what an engine takes."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from roadworthy.models import contract
from roadworthy.records import STEPS

ROOT = Path(__file__).parents[2]
MODELS = contract.available()

sys.path.append(str(ROOT))

from pipelines import compiler  # noqa: E402


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


def test_every_model_has_a_pipeline_and_every_pipeline_a_model():
    assert {file.stem for file in (ROOT / "pipelines").glob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_a_fresh_compilation_equals_what_is_committed(model, tmp_path):
    compiler.compile_pipeline(model, tmp_path / f"{model}.yaml")

    fresh = (tmp_path / f"{model}.yaml").read_bytes()
    assert fresh == (ROOT / "pipelines" / f"{model}.yaml").read_bytes()


@pytest.mark.parametrize("model", MODELS)
def test_it_is_a_pipeline_that_an_engine_takes(model):
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    documents = list(yaml.safe_load_all((ROOT / "pipelines" / f"{model}.yaml").read_text()))
    spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())

    assert spec.pipeline_info.name == f"{model}-production"
    executors = spec.deployment_spec["executors"]
    assert {name.removeprefix("exec-") for name in executors.keys()} == set(STEPS)  # noqa: SIM118
    inputs = spec.root.input_definitions.parameters
    assert set(inputs) == {"run", "commit", "trigger", "force", "strategy", "model"}
    assert inputs["model"].default_value.string_value == model


@pytest.mark.parametrize("model", MODELS)
def test_it_holds_no_place_no_address_and_no_secret(model):
    text = (ROOT / "pipelines" / f"{model}.yaml").read_text()

    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.$/:-])/(home|root|work|tmp|usr|var|Users|mnt|opt)/", text)
    assert not re.search(r"[a-z][a-z0-9+]*://", text)
    assert not re.search(r"(?<![\w.])\d{1,3}(\.\d{1,3}){3}(?![\w.])", text)
    assert not re.search(r"(?i)(password|passwd|secret|token|api_?key|credential)", text)


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
