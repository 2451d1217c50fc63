"""What the project says of itself: the files at its top, the README's tables, the lock files."""

import re
import subprocess

import pytest

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text()


def test_make_help_lists_the_targets_one_line_each(root):
    listed = subprocess.run(
        ["make", "help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {line.split()[0] for line in listed}
    assert {"run", "test", "lint", "format", "notebook", "compile", "image", "lock"} <= names
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in listed)


def test_readme_has_every_setting(readme):
    told = set(re.findall(r"^\| `ROADWORTHY_([A-Z0-9_]+)` ", readme, re.MULTILINE))
    assert told == {name.upper() for name in Settings.model_fields}


def test_the_way_to_production_has_every_setting_of_the_cluster(root):
    from roadworthy.engines.kubeflow.settings import KubeflowSettings
    from roadworthy.rollout.kserve.kserve_settings import KServeSettings

    text = (root / "docs" / "production.md").read_text()
    told = re.findall(
        r"^\| `(ROADWORTHY_[A-Z_]+)` \|", text[text.index("## Settings") :], re.MULTILINE
    )
    assert told == [
        f"{model.model_config['env_prefix']}{name.upper()}"
        for model in (KServeSettings, KubeflowSettings)
        for name in model.model_fields
    ]


def test_readme_has_every_exit_code(readme):
    table = readme[readme.index("| exit code |") :]
    told = set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))
    assert told == {str(int(code)) for code in ExitCode}


def test_readme_has_every_command(readme):
    from typer.main import get_command

    from roadworthy.cli import main

    told = set(re.findall(r"^\| `roadworthy (\w+)", readme, re.MULTILINE))
    assert told == set(get_command(main.app).commands)


def test_readme_has_the_limits_of_the_server_as_they_are(readme):
    from dataclasses import fields

    from roadworthy.serving.settings import ServerSettings

    defaults = {field.name: field.default for field in fields(ServerSettings)}
    told = {}
    for options, values in re.findall(r"^\| (`--[^|]+) \| ([^|]+) \|", readme, re.MULTILINE):
        names = re.findall(r"--([a-z-]+)", options)
        for name, value in zip(names, value_list(values), strict=True):
            told[name.replace("-", "_")] = value

    limits = {name: value for name, value in told.items() if name in defaults}
    assert {"max_in_flight", "request_seconds", "max_rows", "grace_seconds"} <= set(limits)
    for name, value in limits.items():
        assert value == "none" or float(value) == defaults[name], name


def value_list(text: str) -> list[str]:
    return [value.strip("` ") for value in text.split(",")]


def test_pictures_of_the_readme_are_there(root, readme):
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert len(pictures) >= 2
    assert all((root / picture).stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize("name", ["dev", "pipeline", "serving", "uv"])
def test_lock_files_are_pinned_and_hashed_and_name_no_index(root, name):
    text = (root / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert "index" not in "".join(line for line in text.splitlines() if line.startswith("--"))
    packages = [line for line in text.splitlines() if re.match(r"^[a-z0-9]", line)]
    assert packages
    assert all(re.match(r"^[a-z0-9._-]+(\[[a-z0-9,-]+\])?==", line) for line in packages)
    assert text.count("--hash=sha256:") >= len(packages)


@pytest.mark.parametrize(
    ("name", "of", "shared"),
    [
        ("serving", "pipeline", {"numpy", "onnxruntime", "pydantic"}),
        ("pipeline", "dev", {"numpy", "scikit-learn", "dvc", "mlflow"}),
        ("serving", "dev", {"numpy", "onnxruntime", "pydantic"}),
    ],
)
def test_what_two_lock_files_share_is_the_same_version_with_the_same_hashes(root, name, of, shared):
    first, second = (pins(root / "requirements" / f"{one}.txt") for one in (name, of))
    both = first.keys() & second.keys()
    assert shared <= both
    assert {package: first[package] for package in both} == {
        package: second[package] for package in both
    }


def pins(file) -> dict[str, tuple[str, set[str]]]:
    """Return the version and the hashes of each package of a lock file."""
    found = {}
    for entry in re.split(r"^(?=[a-z0-9])", file.read_text(), flags=re.MULTILINE)[1:]:
        package, version = re.match(r"([a-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", entry).groups()
        found[package] = (version, set(re.findall(r"--hash=(\S+)", entry)))
    return found


def test_data_is_not_in_git_and_its_pointer_is(root):
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "data.csv.dvc" in listed
    assert "data.csv" not in listed
    objects = [name for name in listed if name.startswith(".dvc/embedded/")]
    assert len(objects) == 1
