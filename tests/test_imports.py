"""Who may import whom: the rules hold, and they speak of every room that there is."""

import configparser
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import roadworthy
from roadworthy.models.contract import available

ROOMS = {f"roadworthy.{found.name}" for found in pkgutil.iter_modules(roadworthy.__path__)}
NOT_RULED = {"roadworthy.models", "roadworthy.__main__"}


@pytest.fixture(scope="module")
def rules(root):
    parser = configparser.ConfigParser()
    parser.read(root / ".importlinter")
    return parser


def listed(rules, contract, key):
    return set(rules[f"importlinter:contract:{contract}"][key].split())


def test_the_rules_hold(root):
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_is_forbidden_to_the_models(rules):
    forbidden = listed(rules, "models-stand-alone", "forbidden_modules")
    assert forbidden >= ROOMS - NOT_RULED


def test_no_room_may_reach_into_a_model(rules):
    assert listed(rules, "models-by-contract", "source_modules") >= ROOMS - NOT_RULED
    models = {f"roadworthy.models.{name}" for name in available()}
    assert listed(rules, "models-by-contract", "forbidden_modules") >= models
