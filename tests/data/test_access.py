"""The token goes to the Git remote, encrypted, and is written nowhere."""

import re
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from roadworthy.core.subprocesses import CommandError
from roadworthy.data import git
from roadworthy.data.access import Access, AccessError
from roadworthy.data.credentials import answer

REMOTE = "https://git.example/team/cars.git"
SHOWN = {
    "ROADWORTHY_GIT_REMOTE": REMOTE,
    "ROADWORTHY_GIT_USER": "oauth2",
    "ROADWORTHY_GIT_TOKEN": "glpat-1\n",
}
POINTER = "bundles/fuel.dvc"


@pytest.fixture
def remote(git_server, person):
    """The address of a repository at the server."""
    return git_server.make("cars.git", person.root)


@pytest.fixture
def access(git_server, remote):
    return Access(remote, git_server.user, SecretStr(git_server.token))


def release(remote, access, tag="fuel-v1", content="md5: 1\n"):
    with git.checkout(remote, branch="main", access=access) as clone:
        (clone / POINTER).parent.mkdir(exist_ok=True)
        (clone / POINTER).write_text(content)
        return git.release(
            clone, branch="main", tag=tag, message=f"R\n\n{tag}", files=[POINTER], access=access
        )


class TestAnswer:
    def test_git_gets_user_and_token_for_the_remote(self):
        asked = "protocol=https\nhost=git.example\nwwwauth[]=Basic\n\n"

        assert answer(asked, SHOWN) == "username=oauth2\npassword=glpat-1\n"

    @pytest.mark.parametrize(
        ("asked", "address", "given_away"),
        [
            ("http://git.example", REMOTE, False),
            ("https://git.example:8443", REMOTE, False),
            ("https://x.git.example", REMOTE, False),
            ("http://git.example", "http://git.example/a.git", False),
            ("http://localhost.example", "http://localhost.example/a.git", False),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/a.git", True),
            ("http://[::1]:8000", "http://[::1]:8000/a.git", True),
        ],
    )
    def test_it_goes_to_the_remote_alone_and_encrypted_or_to_this_machine(
        self, asked, address, given_away
    ):
        protocol, host = asked.split("://")
        shown = SHOWN | {"ROADWORTHY_GIT_REMOTE": address}

        assert bool(answer(f"protocol={protocol}\nhost={host}\n", shown)) is given_away


class TestAccess:
    @pytest.mark.parametrize(
        ("remote", "told"),
        [
            ("https://me:hunter2@git.example/cars.git", "https://git.example/cars.git"),
            ("http://hunter2@git.example/cars.git", "http://git.example/cars.git"),
            ("https://git.example/cars.git?token=hunter2", "(https://git.example/cars.git)"),
            ("https://git.example/cars.git#hunter2", "(https://git.example/cars.git)"),
            ("http://[", "GIT_REMOTE is not an address"),
            ("https://hunter2@git.example:port/cars.git", "GIT_REMOTE is not an address"),
        ],
    )
    def test_an_address_that_is_invalid_or_has_a_secret_is_refused_without_it(self, remote, told):
        with pytest.raises(AccessError) as caught:
            Access(remote)

        assert told in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_a_token_for_an_address_that_is_not_encrypted_is_refused(self):
        with pytest.raises(AccessError, match="write https:// in ROADWORTHY_GIT_REMOTE"):
            Access("http://git.example/cars.git", "me", SecretStr("hunter2"))

    @pytest.mark.parametrize("remote", ["git@git.example:cars.git", "/home/me/a@b:c.git"])
    def test_what_is_no_http_is_entered_as_the_users_own_git_does(self, remote):
        access = Access(remote, "me", SecretStr("hunter2"))

        assert (access.configuration, access.variables) == ((), {})


class TestServer:
    def test_clone_fetch_and_push_work_with_the_token(self, git_server, remote, access):
        commit = release(remote, access)

        assert git.tags(remote, access) == {"fuel-v1": commit}
        assert git_server.git("cars.git", "rev-parse", "main") == commit

    def test_a_wrong_token_is_a_sentence(self, git_server, remote):
        wrong = Access(remote, git_server.user, SecretStr("hunter2"))

        with pytest.raises(CommandError) as caught:
            release(remote, wrong)

        assert str(caught.value) == (
            f"The Git remote {remote} refuses the token: put one that may read and write there "
            f"into ROADWORTHY_GIT_TOKEN, with its user in ROADWORTHY_GIT_USER, and run again."
        )

    def test_no_token_where_one_is_demanded_is_a_sentence(self, remote):
        with (
            pytest.raises(CommandError, match=r"requires a password: put a token into ROADWORTHY_"),
            git.checkout(remote, branch="main", access=Access(remote)),
        ):
            pytest.fail("it let us in")

    def test_the_users_own_helper_stays_where_there_is_no_token(
        self, git_server, remote, configured
    ):
        told = f"echo username={git_server.user}; echo password={git_server.token}"
        configured(f'[credential]\n\thelper = "!f() {{ {told}; }}; f"\n')

        with git.checkout(remote, branch="main", access=Access(remote)) as clone:
            assert (clone / "README.md").exists()

    def test_the_users_own_helper_does_not_learn_the_token(
        self, remote, access, configured, tmp_path
    ):
        # given a helper that writes down what is shown to it
        configured(f'[credential]\n\thelper = "store --file={tmp_path}/kept"\n')

        release(remote, access)

        assert not (tmp_path / "kept").exists()

    @pytest.mark.parametrize(
        ("kind", "where"),
        [
            ("drop", "info/refs"),
            ("half body", "git-upload-pack"),
            ("500", "git-receive-pack"),
        ],
    )
    def test_a_fault_is_a_sentence_and_the_next_try_ends_well(
        self, git_server, remote, access, proxy, kind, where
    ):
        before = proxy(git_server.url)
        through = remote.replace(git_server.url, before.url)
        entry = Access(through, access.user, access.token)
        fault = before.break_(kind, path=where)

        with pytest.raises((CommandError, git.GitError)) as caught:
            release(through, entry)

        assert "\n" not in str(caught.value)
        assert re.search("ROADWORTHY_GIT_REMOTE|run again", str(caught.value))
        assert access.token.get_secret_value() not in str(caught.value)
        assert fault.hits
        fault.mend()
        release(through, entry)
        assert "fuel-v1" in git.tags(through, entry)

    def test_a_lost_answer_to_a_push_is_no_failure(self, git_server, remote, access, proxy):
        before = proxy(git_server.url)
        through = remote.replace(git_server.url, before.url)
        fault = before.break_("lose answer", method="POST", path="git-receive-pack", times=1)

        commit = release(through, Access(through, access.user, access.token))

        assert fault.hits == 1
        assert git_server.git("cars.git", "rev-parse", "fuel-v1^{commit}") == commit

    def test_a_branch_that_moves_before_the_push_is_built_upon_and_never_forced(
        self, git_server, remote, access, proxy, person
    ):
        # given another's push that arrives just before ours, once
        before = proxy(git_server.url)
        through = remote.replace(git_server.url, before.url)
        others = []

        def move(method: str, path: str) -> None:
            if method == "POST" and "git-receive-pack" in path and not others:
                person.put("other.txt", "another's")
                others.append(person.commit("another's"))
                person.git("push", "--quiet", git_server.root / "cars.git", "HEAD:main")

        before.on_request = move

        commit = release(through, Access(through, access.user, access.token))

        assert len(others) == 1
        assert git_server.git("cars.git", "rev-parse", f"{commit}^") == others[0]
        assert git_server.git("cars.git", "show", f"main:{POINTER}") == "md5: 1"

    def test_the_token_stands_in_no_file_and_no_argument(
        self, git_server, remote, access, proxy, tmp_path, monkeypatch
    ):
        # given a server that keeps a push waiting
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        before = proxy(git_server.url)
        through = remote.replace(git_server.url, before.url)
        entry = Access(through, access.user, access.token)
        fault = before.break_("delay", method="POST", path="git-receive-pack", times=1)
        pushing = threading.Thread(target=release, args=(through, entry))
        pushing.start()

        # when what is there and what runs is looked at
        assert fault.struck.wait(30)
        token = access.token.get_secret_value().encode()
        files = [file for file in scratch.rglob("*") if file.is_file()]
        written = [file for file in files if token in file.read_bytes()]
        running = [told for told in _command_lines() if token in told]
        pushes = [told for told in _command_lines() if through.encode() in told]
        fault.mend()
        pushing.join()

        # then
        assert any(file.name == "config" for file in files)
        assert pushes
        assert (written, running) == ([], [])


def _command_lines() -> list[bytes]:
    """Return the arguments of every process."""
    deadline = time.monotonic() + 10
    found: list[bytes] = []
    while not found and time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.append(process.read_bytes())
            except OSError:
                continue
    return found
