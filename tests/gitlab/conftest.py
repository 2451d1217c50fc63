"""gitlab-ci-local, and a project that has little more than the jobs."""

import pytest

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
