"""A package is compiled by the code of its commit, whatever lies beside it."""

import pytest

from roadworthy.core.settings import Settings
from roadworthy.data.git import GitError
from roadworthy.engines.kubeflow.client import KubeflowError
from roadworthy.engines.kubeflow.image import ImageError
from roadworthy.engines.kubeflow.packaging import package
from tests.parts.git_clone import commit, make

# A compiler that says what it is asked, and from which code.
COMPILER = """
import argparse, pathlib, sys
parser = argparse.ArgumentParser()
for name in ("--image", "--output", "model"):
    parser.add_argument(name)
options = parser.parse_args()
if "broken" in pathlib.Path("src/model.py").read_text():
    sys.exit("SyntaxError: it is broken")
text = pathlib.Path("src/model.py").read_text()
pathlib.Path(options.output).write_text(f"{options.model} {options.image} {text}")
"""
FILES = {
    "src/model.py": "first",
    "src/roadworthy/models/fuel/__init__.py": "",
    "components/train.py": "",
    "pipelines/compiler.py": COMPILER,
    "requirements/pipeline.txt": "",
}


@pytest.fixture
def clone(git_identity, tmp_path):
    return make(tmp_path / "clone", FILES)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


def image(commit):
    return f"registry.example/pipeline:{commit}"


def test_what_is_not_committed_is_no_part_of_it(settings, clone):
    head = commit(clone)
    (clone / "src" / "model.py").write_text("not committed")

    made = package(settings, clone, "fuel", commit="", image=image(head))

    assert made.content.decode() == f"fuel {image(head)} first"
    assert (made.commit, made.version) == (head, f"fuel-{head}")


def test_an_earlier_commit_is_compiled_by_its_own_code(settings, clone):
    first = commit(clone)
    (clone / "src" / "model.py").write_text("second")
    second = commit(clone)

    made = package(settings, clone, "fuel", commit="HEAD~1", image=image(first))
    other = package(settings, clone, "fuel", commit=second[:10], image=image(second))

    assert made.content.decode().endswith("first")
    assert other.content.decode().endswith("second")
    assert (made.commit, other.commit) == (first, second)
    assert made.digest != other.digest


def test_the_image_of_the_settings_is_taken_where_none_is_named(settings, clone):
    head = commit(clone)
    chosen = settings.model_copy(update={"image": image(head)})

    assert package(chosen, clone, "fuel", commit="", image="").image == image(head)
    with pytest.raises(ImageError, match="The steps need an image"):
        package(settings, clone, "fuel", commit="", image="")


def test_what_a_commit_has_not_got_is_told(settings, clone):
    head = commit(clone)

    with pytest.raises(GitError, match=r"has no commit deadbeef: fetch it with `git fetch`"):
        package(settings, clone, "fuel", commit="deadbeef", image=image(head))
    with pytest.raises(KubeflowError, match=rf"The commit {head[:12]} has no model boats"):
        package(settings, clone, "boats", commit="", image=image(head))


def test_a_commit_that_cannot_be_compiled_is_told_with_the_cause(settings, clone):
    (clone / "src" / "model.py").write_text("broken")
    head = commit(clone)

    with pytest.raises(KubeflowError, match=r"cannot compile .*SyntaxError: it is broken"):
        package(settings, clone, "fuel", commit="", image=image(head))
