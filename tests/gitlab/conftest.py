"""gitlab-ci-local, and a project that has little more than the jobs."""

import pytest
import yaml

from tests.gitlab.projects import GitLab


@pytest.fixture(scope="session")
def program(requires) -> str:
    requires.program("node", "apt-get install nodejs")
    requires.program("rsync", "apt-get install rsync")
    return requires.program("gitlab-ci-local", "PATH=$(.ci/gitlab-ci-local):$PATH")


@pytest.fixture
def project(program, root, tmp_path) -> GitLab:
    """A project that has little more than the jobs."""
    place = tmp_path / "project"
    place.mkdir()
    (place / ".gitlab-ci.yml").write_bytes((root / ".gitlab-ci.yml").read_bytes())
    (place / "README.md").write_text("One\n")
    made = GitLab(program, place, tmp_path / "home")
    made.begin()
    return made


class _Loader(yaml.SafeLoader):
    """Reads !reference as the list that it is."""


_Loader.add_constructor("!reference", lambda loader, node: loader.construct_sequence(node))


@pytest.fixture(scope="session")
def jobs(root) -> dict:
    """What .gitlab-ci.yml says, by the names of its jobs."""
    return yaml.load((root / ".gitlab-ci.yml").read_text(), _Loader)
