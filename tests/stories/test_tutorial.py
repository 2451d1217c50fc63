"""A new user types the tutorial block by block, then the blocks of other pages."""

import pytest

from tests.docs.pages import missing, printed, typed

from .conftest import Workplace, wait_until
from .terminal import Terminal

pytestmark = [pytest.mark.story, pytest.mark.slow]


def test_the_pages_are_typed_from_a_clone_to_a_rollback(workplace: Workplace) -> None:
    # given a fresh clone
    terminal = Terminal(workplace)
    serve, ask, origin, again, second, back = typed("docs/tutorial.md", __file__)
    commands, curl = typed("README.md", __file__)
    steer, withdraw, compare = typed("docs/how-to/rollback.md", __file__)
    (reproduce,) = typed("docs/explanation/reproducibility.md", __file__)
    (requests,) = typed("docs/reference/http-api.md", __file__)
    assert typed("docs/how-to/data.md", __file__) == [reproduce]
    lines = [line.partition("#")[0].strip() for line in commands.splitlines()]
    everyday = {line.split()[1]: line for line in lines}

    # when the model is served for the first time
    with terminal.serving(serve) as log:
        wait_until(lambda: "Answer" in log.read_text())
        # then one sees what the tutorial and the README show
        for page in ("docs/tutorial.md", "README.md"):
            (shown,) = (text for text in printed(page) if "Released: version 1" in text)
            assert not missing(shown.removeprefix("$ make run\n"), log.read_text()), page

        # and version 1 answers requests, as the pages send them
        for block, count in ((ask, 1), (curl, 1), (requests, 2)):
            assert terminal.type(block).count("l_per_100km_low") == count
        assert terminal.version() == "1"
        # and its commit is told
        assert workplace.git("rev-parse", "HEAD")[:12] in terminal.type(origin)

        # when the pipeline runs again, then nothing is new; with other data, it deploys a version
        assert "nothing new" in terminal.type(again).lower()
        assert "version 2 is the champion" in terminal.type(second)
        wait_until(lambda: terminal.version() == "2")

        # when it is rolled back, as each page does it, then version 1 answers
        for rollback in (back, withdraw, everyday["rollback"]):
            terminal.type(rollback)
            assert terminal.version() == "1"
            terminal.type(".venv/bin/roadworthy rollback fuel --to 2")
            assert terminal.version() == "2"

        # when two versions are compared, then both are told of
        assert "for fuel:1 and" in terminal.type(compare)
        # when the first one is made again, then it is the same
        assert "is reproduced" in terminal.type(reproduce)
        # when a rollout is steered and none is under way, then that is said
        for command in steer.splitlines():
            told = terminal.type(command, fails="status" not in command)
            assert "fuel" in told, command

    # when the clone is looked at and served from then on, then the champion answers
    terminal.type(everyday["doctor"], fails=None)
    with terminal.serving(f"{everyday['serve']} --port {terminal.port}"):
        assert terminal.version() == "2"
    # and each command of the README was typed
    assert set(lines) - {everyday["serve"]} <= terminal.typed
