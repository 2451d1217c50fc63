"""Git: a user's clone is only read, published and released work is kept, and an error says what
to do."""

import os
from pathlib import Path

import pytest

from roadworthy.core.subprocesses import CommandError
from roadworthy.data import git
from tests.together import at_once

POINTER = "bundles/fuel.dvc"


def released(remote: Path, name: str = POINTER, content: str = "md5: 1\n", tag: str = "fuel-v1"):
    """Release a file as a run does."""
    with git.checkout(str(remote), branch="main") as clone:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(content)
        message = f"Release {tag}\n\nbundle {content}"
        return git.release(clone, branch="main", tag=tag, message=message, files=[name])


class TestInspect:
    def test_a_directory_that_is_no_repository_is_refused(self, tmp_path):
        with pytest.raises(git.NoCloneError, match=r"is not in a Git repository.*git init"):
            git.inspect(tmp_path)

    def test_a_repository_without_a_commit_is_refused(self, tmp_path, person):
        person.git("init", "--quiet", tmp_path / "empty")

        with pytest.raises(git.GitError, match=r"no commit yet.*git commit"):
            git.inspect(tmp_path / "empty")

    def test_a_clone_of_another_user_is_refused(self, person, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

        with pytest.raises(git.GitError, match=r"belongs to another user.*safe\.directory"):
            git.inspect(person.root)

    def test_a_linked_worktree_has_its_own_root_and_commit(self, person, tmp_path):
        person.git("worktree", "add", "--quiet", "-b", "other", tmp_path / "linked")
        linked = type(person)(tmp_path / "linked")
        commit = linked.commit("there")

        assert git.inspect(linked.root) == git.Clone(linked.root, commit, ())
        assert git.inspect(person.root).commit != commit

    def test_changes_are_named_as_they_are(self, person):
        # given names that Git would quote, a rename, a removal, and a name that is no UTF-8
        for name in ("old.txt", "gone.txt", "changed.txt"):
            person.put(name, name * 20)
        person.commit()
        person.git("mv", "old.txt", "new name.txt")
        person.git("rm", "--quiet", "gone.txt")
        person.put("changed.txt", "another")
        person.put('quo"ted\n.txt', "untracked")
        person.put("größe.txt", "untracked")
        Path(os.fsdecode(os.fsencode(person.root) + b"/\xff.txt")).write_text("untracked")

        changes = git.inspect(person.root).changes

        assert set(changes) == {
            "old.txt", "new name.txt", "gone.txt", "changed.txt",
            'quo"ted\n.txt', "größe.txt", "\\xff.txt",
        }  # fmt: skip
        assert "".join(changes).encode()


class TestPublish:
    @pytest.mark.parametrize("change", ["later", "amended", "reset", "removed"])
    def test_after_a_release_the_branch_holds_the_heads_files_and_the_releases(
        self, person, bare, publish, change
    ):
        # given two commits and a release
        person.put("src/old.py", "OLD = 1\n")
        person.commit("second")
        publish()
        release = released(bare.root)
        # when the user goes on in one way or another
        if change == "later":
            person.put("src/model.py", "A = 3\n")
            person.commit()
        elif change == "amended":
            person.put("src/model.py", "A = 4\n")
            person.commit("second", "--amend")
        elif change == "reset":
            person.git("reset", "--quiet", "--hard", "HEAD~1")
        else:
            person.git("rm", "-r", "--quiet", "src/old.py", "README.md")
            person.commit()
        publish()
        # then
        assert bare.files("main") == person.files() | {POINTER: "md5: 1"}
        for ancestor in (release, person.git("rev-parse", "HEAD")):
            bare.git("merge-base", "--is-ancestor", ancestor, "main")
        assert bare.git("rev-parse", "fuel-v1^{commit}") == release
        # and again changes nothing
        tip = bare.git("rev-parse", "main")
        publish()
        assert bare.git("rev-parse", "main") == tip

    def test_the_users_clone_is_byte_for_byte_untouched(self, person, bare, publish, tmp_path):
        # given changes, staged and not, another branch, a tag and a stash
        person.git("branch", "other")
        person.git("tag", "mine")
        person.put("README.md", "stashed")
        person.git("stash", "--quiet")
        person.put("src/model.py", "staged")
        person.git("add", "src/model.py")
        person.put("new.txt", "untracked")
        os.utime(person.root / "README.md", (1, 1))
        before = person.snapshot()
        # when it is inspected, published, released on top of, published again, and exported
        publish()
        released(bare.root)
        publish()
        commit = git.inspect(person.root).commit
        git.export(person.root, commit, tmp_path / "code")
        git.fingerprint(person.root, commit, "data")
        # then
        assert person.snapshot() == before

    def test_a_partial_clone_can_be_published(self, person, bare, tmp_path):
        # given a clone that left out the contents of files which are not checked out
        person.put("old.txt", "old")
        first = person.commit()
        person.put("old.txt", "new")
        last = person.commit()
        git.git("config", "uploadpack.allowFilter", "true", cwd=person.root)
        partial = tmp_path / "partial"
        git.git("clone", "--quiet", "--filter=blob:none", person.root.as_uri(), partial)

        git.publish(git.inspect(partial), bare.root, "main")

        with git.checkout(str(bare.root), branch="main", commit=first) as path:
            assert (path / "old.txt").read_text() == "old"
        assert git.git("rev-parse", "main", cwd=bare.root) == last

    def test_a_shallow_clone_can_be_published_released_and_checked_out(
        self, person, bare, publish, tmp_path
    ):
        person.put("src/model.py", "A = 2\n")
        person.commit()
        person.git("clone", "--quiet", "--depth=1", person.root.as_uri(), tmp_path / "shallow")
        shallow = type(person)(tmp_path / "shallow")

        publish(shallow.root)
        released(bare.root)
        shallow.put("src/model.py", "A = 3\n")
        commit = shallow.commit()
        publish(shallow.root)

        with git.checkout(str(bare.root), branch="main", commit=commit) as clone:
            assert (clone / "src/model.py").read_text() == "A = 3\n"
        assert bare.files("main") == shallow.files() | {POINTER: "md5: 1"}

    def test_a_release_in_the_same_moment_is_not_lost(self, person, bare, publish, tmp_path, hook):
        # given that a release moves the branch just before it is advanced, once
        publish()
        release = released(bare.root)
        bare.git("update-ref", "refs/heads/main", person.git("rev-parse", "HEAD"))
        commit = person.commit("first", "--amend", "--author=Other <o@example.com>")
        real, calls = git.git, []

        def moving(*arguments, **options):
            if arguments[0] == "update-ref" and not calls:
                calls.append(arguments)
                bare.git("update-ref", "refs/heads/main", release)
            return real(*arguments, **options)

        # when
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(git, "git", moving)
            publish()

        # then
        assert calls
        for ancestor in (release, commit):
            bare.git("merge-base", "--is-ancestor", ancestor, "main")
        assert POINTER in bare.files("main")

    def test_a_directory_in_the_way_is_named_and_kept(self, bare, publish):
        # given a directory of the user's, and what a killed run left half made
        bare.put("precious.txt", "mine")
        half = bare.root.parent / f".{bare.root.name}.new"
        half.mkdir()

        with pytest.raises(git.GitError, match=r"remote\.git is there and is not.*move it away"):
            publish()

        assert (bare.root / "precious.txt").read_text() == "mine"

    def test_a_lock_that_a_killed_git_left_is_named(self, person, bare, publish):
        publish()
        person.commit("second")
        (bare.root / "refs/heads/main.lock").touch()

        with pytest.raises(CommandError, match=r"main\.lock': File exists.*delete that file"):
            publish()


class TestCheckout:
    @pytest.mark.parametrize("commit", ["0" * 40, "--quiet"])
    def test_a_missing_commit_is_told(self, bare, publish, commit):
        publish()

        with (
            pytest.raises(git.GitError, match=rf"has no {commit}: push it there first"),
            git.checkout(str(bare.root), branch="main", commit=commit),
        ):
            pytest.fail("there is no such commit")

    @pytest.mark.parametrize("address", ["{}/nowhere.git", "--upload-pack=touch {}/hacked"])
    def test_a_missing_remote_is_told_with_the_setting(self, tmp_path, monkeypatch, address):
        monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
        monkeypatch.setenv("LANGUAGE", "de")
        remote = address.format(tmp_path)

        with (
            pytest.raises(CommandError, match="ROADWORTHY_GIT_REMOTE") as caught,
            git.checkout(remote, branch="main"),
        ):
            pytest.fail("there is no such remote")

        assert "\n" not in str(caught.value)
        assert not (tmp_path / "hacked").exists()


class TestExport:
    def test_it_holds_the_sources_and_nothing_else(self, person, tmp_path):
        commit = person.git("rev-parse", "HEAD")

        code = git.export(person.root, commit, tmp_path / "code")

        assert code == tmp_path / "code" / commit
        names = {str(file.relative_to(code)) for file in code.rglob("*") if file.is_file()}
        assert names == {
            "src/model.py", "components/train.py", "pipelines/fuel.yaml",
            "requirements/pipeline.txt",
        }  # fmt: skip

    def test_several_at_once_all_end_well(self, person, tmp_path):
        # given what a killed run left
        commit = person.git("rev-parse", "HEAD")
        (tmp_path / "code" / f".{commit}" / "src").mkdir(parents=True)
        (tmp_path / "code" / f".{commit}" / "src" / "strange.py").touch()
        export = lambda: git.export(person.root, commit, tmp_path / "code")  # noqa: E731

        found = at_once(*[export] * 4)

        assert set(found) == {tmp_path / "code" / commit}
        assert (found[0] / "src" / "model.py").read_text() == "A = 1\n"
        assert not (found[0] / "src" / "strange.py").exists()
        assert {file.name for file in (tmp_path / "code").iterdir()} - {".lock"} == {commit}

    @pytest.mark.parametrize(
        "use", [git.export, lambda root, commit, _: git.fingerprint(root, commit, "data")]
    )
    def test_a_commit_without_a_part_of_the_code_is_refused(self, person, tmp_path, use):
        person.git("rm", "-r", "--quiet", "components", "requirements")
        commit = person.commit()

        told = r"has no components, requirements/pipeline\.txt: a run needs it"
        with pytest.raises(git.GitError, match=told):
            use(person.root, commit, tmp_path / "code")

        assert not (tmp_path / "code" / commit).exists()

    def test_a_failure_half_way_leaves_nothing(self, person, tmp_path):
        # given a link out of the directory, which is refused when it is unpacked
        (person.root / "src" / "zz").symlink_to("/etc/passwd")
        commit = person.commit()

        with pytest.raises(Exception, match="zz"):
            git.export(person.root, commit, tmp_path / "code")

        assert {file.name for file in (tmp_path / "code").iterdir()} == {".lock"}


class TestFingerprint:
    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            *(
                (name, True)
                for name in ("src/model.py", "components/new.py", "pipelines/fuel.yaml")
            ),
            ("requirements/pipeline.txt", True),
            *((name, False) for name in ("README.md", POINTER, "requirements/dev.txt")),
        ],
    )
    def test_it_changes_with_code_and_data_and_nothing_else(self, person, name, changes):
        commit = person.git("rev-parse", "HEAD")
        before = git.fingerprint(person.root, commit, "data")
        assert git.fingerprint(person.root, commit, "other") != before
        person.put(name, "other\n")

        assert (git.fingerprint(person.root, person.commit(), "data") != before) is changes


class TestRelease:
    def test_commit_and_annotated_tag_are_pushed(self, person, bare, publish):
        publish()

        commit = released(bare.root)

        assert bare.git("rev-parse", "main") == commit
        assert git.tags(str(bare.root)) == {"fuel-v1": commit}
        assert bare.git("cat-file", "-t", "fuel-v1") == "tag"
        assert bare.files("main") == person.files() | {POINTER: "md5: 1"}
        assert bare.git("log", "-1", "--format=%an %s", "main") == (
            "Roadworthy Release fuel-v1 [skip ci]"
        )
        with git.checkout(str(bare.root), branch="main") as clone:
            assert git.tag_message(clone, "fuel-v1").strip() == "Release fuel-v1\n\nbundle md5: 1"
            assert git.tag_message(clone, "fuel-v2") == ""

    def test_either_both_are_pushed_or_none(self, bare, publish, hook):
        publish()
        tip = bare.git("rev-parse", "main")
        hook(
            bare.root / "hooks",
            "update",
            'case $1 in refs/tags/*) echo "No tags here"; exit 1;; esac',
        )

        with pytest.raises(git.GitError, match=r"refuses the release fuel-v1 \(No tags here\)"):
            released(bare.root)

        assert bare.git("rev-parse", "main") == tip
        assert git.tags(str(bare.root)) == {}

    def test_a_taken_tag_is_refused_and_nothing_overwritten(self, bare, publish):
        publish()
        first = released(bare.root)

        with pytest.raises(git.GitError, match="already has the tag fuel-v1 with another content"):
            released(bare.root, content="md5: 2\n")

        assert git.tags(str(bare.root)) == {"fuel-v1": first}
        assert bare.git("rev-parse", "main") == first

    def test_releases_of_two_models_at_once_are_both_kept(self, bare, publish):
        publish()

        at_once(
            lambda: released(bare.root),
            lambda: released(bare.root, "bundles/outliers.dvc", "md5: 2\n", "outliers-v1"),
        )

        files = bare.files("main")
        assert files[POINTER] == "md5: 1"
        assert files["bundles/outliers.dvc"] == "md5: 2"
        assert set(git.tags(str(bare.root))) == {"fuel-v1", "outliers-v1"}


HOSTILE = """
[commit]
	gpgSign = true
[tag]
	gpgSign = true
[push]
	gpgSign = true
	followTags = true
[gpg]
	program = /nowhere/gpg
[core]
	hooksPath = {hooks}
	autocrlf = true
	safecrlf = true
	excludesFile = {ignored}
	attributesFile = {attributes}
	commentChar = b
	quotePath = false
	fsmonitor = {hooks}/monitor
[color]
	ui = always
[init]
	templateDir = {template}
	defaultBranch = trunk
[clone]
	defaultRemoteName = upstream
	rejectShallow = true
[fetch]
	prune = true
	pruneTags = true
[pull]
	rebase = true
[protocol]
	version = 0
[protocol "file"]
	allow = never
[safe]
	bareRepository = explicit
[submodule]
	recurse = true
[user]
	useConfigOnly = true
[alias]
	fetch = !false
"""


class TestConfigurationOfTheUser:
    @pytest.fixture
    def hostile(self, person, configured, hook, tmp_path):
        hooks = tmp_path / "hooks"
        names = (
            "pre-commit", "commit-msg", "prepare-commit-msg", "post-checkout", "pre-push",
            "reference-transaction", "pre-receive", "update", "monitor",
        )  # fmt: skip
        for directory in (hooks, tmp_path / "template" / "hooks"):
            for name in names:
                hook(directory, name, f"echo {name} >> {tmp_path}/ran; exit 1")
        (tmp_path / "ignored").write_text("*.dvc\nbundles/\n")
        (tmp_path / "attributes").write_text("*.py export-ignore\n*.yaml text eol=crlf\n")
        text = HOSTILE.format(
            hooks=hooks,
            ignored=tmp_path / "ignored",
            attributes=tmp_path / "attributes",
            template=tmp_path / "template",
        )
        return lambda: configured(text)

    def test_everything_works_and_gives_the_same(
        self, person, bare, publish, hostile, tmp_path, monkeypatch
    ):
        commit = person.git("rev-parse", "HEAD")
        plain = git.export(person.root, commit, tmp_path / "plain")
        expected = git.fingerprint(person.root, commit, "data")
        hostile()

        git.publish(git.Clone(person.root, commit, ()), bare.root, "main")
        first = released(bare.root)
        git.publish(git.Clone(person.root, commit, ()), bare.root, "main")
        code = git.export(person.root, commit, tmp_path / "code")
        with git.checkout(str(bare.root), branch="main") as clone:
            content = (clone / "src/model.py").read_bytes()
            told = git.tag_message(clone, "fuel-v1")

        assert content == b"A = 1\n"
        assert told.strip() == "Release fuel-v1\n\nbundle md5: 1"
        assert git.tags(str(bare.root)) == {"fuel-v1": first}
        assert git.fingerprint(person.root, commit, "data") == expected
        for file in plain.rglob("*.*"):
            assert (code / file.relative_to(plain)).read_bytes() == file.read_bytes()
        assert not (tmp_path / "ran").exists()

    def test_a_run_that_a_hook_starts_works_in_its_own_repositories(
        self, person, bare, publish, monkeypatch, tmp_path
    ):
        # given the variables that Git sets for a hook
        monkeypatch.setenv("GIT_DIR", str(person.root / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(person.root / ".git" / "index"))
        monkeypatch.setenv("GIT_WORK_TREE", str(person.root))
        before = person.snapshot()

        publish()
        commit = released(bare.root)

        assert person.snapshot() == before
        monkeypatch.delenv("GIT_DIR")
        assert git.tags(str(bare.root)) == {"fuel-v1": commit}

    def test_the_users_own_variables_of_configuration_are_kept(
        self, person, tmp_path, monkeypatch, bare, publish
    ):
        # given an address that only the user's configuration leads to
        publish()
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{bare.root.parent}/.insteadOf")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "mine:")

        with git.checkout("mine:remote.git", branch="main") as clone:
            assert (clone / "README.md").exists()
