"""What the project says of itself: the files at its top, the README, the lock files."""

import re
import subprocess

import pytest

from roadworthy.models import contract


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text()


def test_the_readme_is_short(readme):
    assert len(readme.splitlines()) <= 150


def test_pictures_of_the_readme_are_there(root, readme):
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert len(pictures) >= 2
    assert all((root / picture).stat().st_size > 1_000 for picture in pictures)


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
    pointers = [contract.load(name).data for name in contract.available()]
    assert set(pointers) <= set(listed)
    assert not {name.removesuffix(".dvc") for name in pointers} & set(listed)
    objects = [name for name in listed if name.startswith(".dvc/embedded/")]
    assert len(objects) == len(pointers)
