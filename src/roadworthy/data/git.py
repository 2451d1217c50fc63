"""Git: the clone that a user works in, and the remote that a run reads and releases to.

A run never touches the user's branch or work tree. The embedded remote is a bare repository that
follows the clone's HEAD; a release adds a commit and a tag to it, as it would on a server.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import filelock
import tenacity

from roadworthy.core.errors import RoadworthyError
from roadworthy.core.subprocesses import CommandError, call
from roadworthy.data.access import USERS_OWN, Access

SOURCES = ("src", "components", "pipelines", "requirements/pipeline.txt")
"""The paths that decide what a run makes of the data: the source fingerprint covers them."""
RELEASES = "bundles"
"""The directory of the releases' ``.dvc`` files, which only a run writes."""

# Git tells a hook, and what it starts, which repository it is in; a run works in others.
ELSEWHERE: Mapping[str, None] = dict.fromkeys((
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE",
    "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
))  # fmt: skip
"""The variables that would make Git work in another repository than the one it is started in."""

_ENVIRONMENT: Mapping[str, str | None] = {
    **ELSEWHERE,
    # A release is the pipeline's own commit, whoever runs it.
    "GIT_AUTHOR_NAME": "Roadworthy",
    "GIT_AUTHOR_EMAIL": "roadworthy@localhost",
    "GIT_COMMITTER_NAME": "Roadworthy",
    "GIT_COMMITTER_EMAIL": "roadworthy@localhost",
    "GIT_TERMINAL_PROMPT": "0",
    # What serves a fetch from a partial clone may fetch what that clone left out.
    "GIT_NO_LAZY_FETCH": "0",
    # Its messages are parsed here, so they must be in one language.
    "LC_ALL": "C",
}
# User settings that would break a run or change what it makes. The rest stays: credentials, proxies
# and addresses are the user's to choose.
_SETTINGS: Mapping[str, str] = {
    **dict.fromkeys(("core.attributesFile", "core.excludesFile", "core.hooksPath"), os.devnull),
    **dict.fromkeys((
        "clone.rejectShallow", "color.ui", "commit.gpgSign", "core.autocrlf", "core.fsmonitor",
        "fetch.prune", "fetch.pruneTags", "maintenance.auto", "push.followTags", "push.gpgSign",
        "submodule.recurse", "tag.gpgSign",
    ), "false"),
    "core.eol": "lf",
    "gc.auto": "0",
    "init.templateDir": "",
    "protocol.file.allow": "always",
    "protocol.version": "2",
    "safe.bareRepository": "all",
}  # fmt: skip
_PUSH_ATTEMPTS = 5
_UNREACHED = "Check the access to the Git remote and run again: what is there is not pushed twice."
_CONTENDED = (
    "cannot lock ref",
    "failed to update ref",
    "incorrect old value",
    "atomic transaction",
)


class GitError(RoadworthyError):
    """Git cannot give what is asked for."""


class NoCloneError(GitError):
    """A directory is in no Git repository."""


class TagExistsError(GitError):
    """The remote has the tag of a release already, with another content."""


class MovedError(GitError):
    """The remote's branch moved between fetch and push."""


@dataclass(frozen=True)
class Clone:
    """The state of a clone that a user works in."""

    root: Path
    commit: str
    changes: tuple[str, ...]
    """Paths with uncommitted changes, untracked ones among them."""


def git(
    *arguments: str | Path,
    cwd: Path | None = None,
    remedy: str = "",
    stdin: str | None = None,
    access: Access = USERS_OWN,
) -> str:
    """Run git independent of the user's settings and return its output.

    Parameters
    ----------
    access
        How to enter the remote, for what goes there.
    """
    configuration = _configuration(os.environ.get("GIT_CONFIG_COUNT", ""), access)
    environment = {**_ENVIRONMENT, **configuration, **access.variables}
    return _git(arguments, environment, cwd=cwd, remedy=remedy, stdin=stdin, access=access)


def inspect(directory: Path) -> Clone:
    """Return the state of the clone that a directory is in.

    Raises
    ------
    GitError
        It is no clone, or has no commit.
    """
    root = inspect_root(directory)
    try:
        commit = _look("rev-parse", "--verify", "HEAD^{commit}", cwd=root)
    except CommandError as error:
        raise GitError(
            f"The Git repository {root} has no commit yet: a run needs one to name what it used. "
            f"Run `git add --all && git commit`."
        ) from error
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=normal")
    status = _look("status", *options, cwd=root)
    return Clone(root, commit, tuple(_paths(status)))


def inspect_root(directory: Path) -> Path:
    """Return the root of the clone that a directory is in.

    Raises
    ------
    NoCloneError
        It is in no clone.
    GitError
        It is in one that Git does not trust.
    """
    try:
        return Path(_look("rev-parse", "--show-toplevel", cwd=directory))
    except CommandError as error:
        if error.status == -1:
            raise
        if "dubious ownership" in error.output:
            raise GitError(
                f"Git does not trust {directory}, which belongs to another user: run "
                f"`git config --global --add safe.directory {directory}`."
            ) from error
        raise NoCloneError(
            f"{directory} is not in a Git repository: run this in a clone of the project, or make "
            f"one with `git init && git add --all && git commit`."
        ) from error


def publish(clone: Clone, bare: Path, branch: str) -> None:
    """Bring the clone's commit to the embedded remote, which is made if it is not there.

    The remote's branch becomes the commit, or, where it holds something else as well, a merge: the
    commit's files and the remote's releases. The clone is only read.
    """
    bare.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(bare.with_name(f".{bare.name}.lock")):
        if not (bare / "HEAD").exists():
            _make(bare, branch, like=clone.root)
        options = ("--quiet", "--no-tags", "--update-shallow", "--no-write-fetch-head")
        remedy = (
            f"If {bare} is damaged, move it away and run again: it is made anew from this clone; "
            f"its tags, which name the releases, are then gone."
        )
        git("fetch", *options, "--", clone.root, clone.commit, cwd=bare, remedy=remedy)
        _advance(bare, f"refs/heads/{branch}", clone.commit)


@contextmanager
def checkout(
    remote: str, *, branch: str, commit: str = "", access: Access = USERS_OWN
) -> Iterator[Path]:
    """Give a scratch clone of the remote at a commit or tag, or at the tip of its branch.

    Raises
    ------
    GitError
        The remote, the branch or the commit is not there.
    """
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        path = Path(scratch) / "clone"
        remedy = f"Check the setting ROADWORTHY_GIT_REMOTE ({remote}) and the access to it."
        # Not --local: it copies files that a push in the same moment takes away.
        options = ("--quiet", "--no-checkout", "--no-local", "--origin", "origin")
        git("clone", *options, "--", remote, path, remedy=remedy, access=access)
        target = commit or f"refs/remotes/origin/{branch}"
        try:
            found = git(
                "rev-parse", "--verify", "--end-of-options", f"{target}^{{commit}}", cwd=path
            )
        except CommandError as error:
            raise GitError(
                f"The Git remote {remote} has no {commit or f'branch {branch}'}: push it there "
                f"first."
            ) from error
        remedy = f"Is there space left in {scratch}, or where TMPDIR names?"
        git("checkout", "--quiet", "--detach", found, cwd=path, remedy=remedy)
        yield path


def export(repository: Path, commit: str, target: Path) -> Path:
    """Write :data:`SOURCES` at a commit to a directory named by the commit, and return it.

    Raises
    ------
    GitError
        The commit lacks one of them.
    """
    directory = target / commit
    if directory.exists():
        return directory
    target.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target / ".lock"):
        if directory.exists():
            return directory
        _trees(repository, commit)
        # Its name is fixed, so that what a killed run left is found and replaced.
        scratch = target / f".{commit}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
                git("archive", f"--output={archive.name}", commit, *SOURCES, cwd=repository)
                with tarfile.open(archive.name) as files:
                    files.extractall(scratch, filter="data")
            scratch.rename(directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return directory


def fingerprint(repository: Path, commit: str, data_hash: str) -> str:
    """Return a hash of the code, the lock file and the data: the source fingerprint of a run.

    A release's own commit does not change it, so a run after a release finds nothing new.

    Raises
    ------
    GitError
        The commit lacks a part of the code.
    """
    trees = _trees(repository, commit)
    return sha256("\n".join([*trees, data_hash]).encode()).hexdigest()


def is_same_code(repository: Path, one: str, other: str) -> bool:
    """Return whether two commits have the same code and lock file.

    Raises
    ------
    GitError
        One of them lacks a part of the code, or is not in the repository.
    """
    return _trees(repository, one) == _trees(repository, other)


def has_commit(repository: Path, commit: str) -> bool:
    """Return whether a commit is in a repository."""
    asked = f"{commit}^{{commit}}"
    told = git("cat-file", "--batch-check", cwd=repository, stdin=f"{asked}\n")
    return not told.endswith("missing")


def lacks(repository: Path, commit: str, other: str) -> str:
    """Return what a commit is that another one is not part of; empty if it is, or is the same.

    ``older`` is a commit that the other one is based on, ``not based on`` any other, and also one
    in a repository that does not have the other commit.
    """
    if not has_commit(repository, other):
        return "not based on"
    if _is_ancestor(repository, other, commit):
        return ""
    return "older than" if _is_ancestor(repository, commit, other) else "not based on"


def commit_with(clone: Path, path: str, text: str) -> str:
    """Return the first commit of any branch whose file holds a text, or nothing."""
    found = _look("log", "--all", "--format=%H", f"-S{text}", "--", path, cwd=clone)
    return found.rpartition("\n")[2]


def tags(remote: str, access: Access = USERS_OWN) -> dict[str, str]:
    """Return the commit that each tag of the remote names."""
    listed = git("ls-remote", "--tags", "--", remote, access=access).splitlines()
    found = {}
    for line in listed:
        commit, reference = line.split("\t")
        # An annotated tag is listed twice: itself, and with ^{} the commit. The commit comes last.
        found[reference.removeprefix("refs/tags/").removesuffix("^{}")] = commit
    return found


def tag_message(repository: Path, tag: str) -> str:
    """Return the message of an annotated tag, or nothing when there is no such tag."""
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}", cwd=repository)


def release(
    repository: Path,
    *,
    branch: str,
    tag: str,
    message: str,
    files: list[str],
    access: Access = USERS_OWN,
) -> str:
    """Commit files on top of the remote's branch, tag the commit, push both; return the commit.

    Both are pushed in one step and never by force. Where the branch moved meanwhile, the commit is
    made again on top of it.

    Parameters
    ----------
    repository
        A scratch clone, as from :func:`checkout`, with the files written.
    files
        Their paths in the repository.

    Raises
    ------
    TagExistsError
        The remote has the tag, with another content.
    GitError
        The branch kept moving, or the remote refuses.
    """
    contents = {name: (repository / name).read_bytes() for name in files}

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(MovedError),
        stop=tenacity.stop_after_attempt(_PUSH_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    def attempt() -> str:
        git("fetch", "--quiet", "origin", cwd=repository, remedy=_UNREACHED, access=access)
        base = git("rev-parse", "--verify", f"refs/remotes/origin/{branch}", cwd=repository)
        git("checkout", "--quiet", "--force", "--detach", base, cwd=repository)
        for name, content in contents.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_bytes(content)
        git("add", "--force", "--", *files, cwd=repository)
        subject = message.splitlines()[0]
        git("commit", "--quiet", "--allow-empty", "-m", f"{subject} [skip ci]", cwd=repository)
        # Verbatim: otherwise lines that start with the user's core.commentChar are lost.
        options = ("--force", "--annotate", "--cleanup=verbatim")
        git("tag", *options, "-m", message, tag, cwd=repository)
        _push(repository, branch=branch, tag=tag, base=base, access=access)
        return git("rev-parse", "HEAD", cwd=repository)

    return attempt()


def _git(
    arguments: Iterable[str | Path],
    environment: Mapping[str, str | None],
    *,
    cwd: Path | None,
    remedy: str = "",
    stdin: str | None = None,
    access: Access = USERS_OWN,
) -> str:
    command: list[str | Path] = ["git", *arguments]
    try:
        return call(command, cwd=cwd, environment=environment, remedy=remedy, stdin=stdin)
    except CommandError as error:
        if told := access.refusal(error.output):
            raise CommandError(told, output=error.output, status=error.status) from error
        if ".lock': File exists" not in error.output:
            raise
        raise CommandError(
            f"{error} Another Git process works there, or one was killed: if none runs, delete "
            f"that file and run again.",
            output=error.output,
            status=error.status,
        ) from error


def _look(*arguments: str, cwd: Path) -> str:
    """Query a user's clone with the user's settings and without a change to its index."""
    return _git(arguments, {**_ENVIRONMENT, "GIT_OPTIONAL_LOCKS": "0"}, cwd=cwd)


def _configuration(count: str, access: Access) -> dict[str, str]:
    """Return the variables that add our settings to the user's, of which there are ``count``."""
    first = int(count) if count.isdigit() else 0
    settings = (*_SETTINGS.items(), *access.configuration)
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def _make(bare: Path, branch: str, *, like: Path) -> None:
    """Make an empty bare repository, whole or not at all, with the kind of hashes of another."""
    scratch = bare.with_name(f".{bare.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    hashes = git("rev-parse", "--show-object-format", cwd=like)
    options = ("--quiet", "--bare", f"--initial-branch={branch}", f"--object-format={hashes}")
    git("init", *options, scratch)
    # Its own hooks and no one else's: what serves a push does not see the settings above.
    git("config", "core.hooksPath", "hooks", cwd=scratch)
    try:
        scratch.rename(bare)
    except OSError as error:
        raise GitError(
            f"{bare} is there and is not a Git repository: move it away and run again."
        ) from error


def _push(repository: Path, *, branch: str, tag: str, base: str, access: Access) -> None:
    """Push HEAD and the tag together; if it is refused, find out why from the remote's state."""
    names = (f"refs/heads/{branch}", f"refs/tags/{tag}")
    try:
        references = (f"HEAD:{names[0]}", names[1])
        options = ("--porcelain", "--atomic", "origin")
        git("push", *options, *references, cwd=repository, access=access)
    except CommandError as error:
        asked = ("ls-remote", "origin", *names)
        listed = git(*asked, cwd=repository, remedy=_UNREACHED, access=access)
        there = {line.partition("\t")[2]: line.partition("\t")[0] for line in listed.splitlines()}
        if there.get(names[1]) == git("rev-parse", names[1], cwd=repository):
            return  # it was taken, and only the answer was lost
        if names[1] in there:
            raise TagExistsError(
                f"The Git remote already has the tag {tag} with another content; nothing was "
                f"overwritten. The registry and the remote's tags disagree: point "
                f"ROADWORTHY_MLFLOW_TRACKING_URI at the registry that made the tag."
            ) from error
        if there.get(names[0]) != base or any(word in error.output for word in _CONTENDED):
            raise MovedError(
                "The branch of the Git remote kept moving while a release was pushed. Run again."
            ) from error
        raise GitError(
            f"The Git remote refuses the release {tag} ({_refusal(error.output)}); nothing was "
            f"pushed. Check the access to branch {branch} and its tags, and run again."
        ) from error


def _refusal(output: str) -> str:
    """Return what the remote said, or else the first complaint of Git."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    complaints = [line for line in lines if line.startswith(("!", "fatal:", "error:"))]
    return (list(filter(None, told)) or complaints or lines or ["it did not say why"])[0]


def _advance(bare: Path, reference: str, commit: str) -> None:
    """Make a branch of the bare repository hold a commit's files, and its own releases too."""
    for attempt in range(1, _PUSH_ATTEMPTS + 1):
        tip = git("for-each-ref", "--format=%(objectname)", reference, cwd=bare)
        target = _merge(bare, tip, commit) if tip else commit
        if target == tip:
            return
        try:
            git("update-ref", reference, target, tip, cwd=bare)
        except CommandError:
            # A release may have been pushed in the same moment; then it is merged as well.
            now = git("for-each-ref", "--format=%(objectname)", reference, cwd=bare)
            if now == tip or attempt == _PUSH_ATTEMPTS:
                raise
        else:
            return


def _merge(bare: Path, tip: str, commit: str) -> str:
    """Return the tip, the commit, or a merge: what holds the commit's files and all releases."""
    if _is_ancestor(bare, tip, commit):
        return commit
    tree = _with_releases(bare, commit, tip)
    same = tree == git("rev-parse", f"{tip}^{{tree}}", cwd=bare)
    if same and _is_ancestor(bare, commit, tip):
        return tip
    message = f"Merge {commit[:12]}"
    return git("commit-tree", tree, "-p", tip, "-p", commit, "-m", message, cwd=bare)


def _with_releases(bare: Path, commit: str, tip: str) -> str:
    """Return the tree of a commit and the tip's releases, which are newer than its own."""
    git("read-tree", commit, cwd=bare)
    releases = git("ls-tree", "-r", "-z", tip, f"{RELEASES}/", cwd=bare)
    git("update-index", "-z", "--index-info", cwd=bare, stdin=releases)
    return git("write-tree", cwd=bare)


def _is_ancestor(repository: Path, ancestor: str, commit: str) -> bool:
    try:
        git("merge-base", "--is-ancestor", ancestor, commit, cwd=repository)
    except CommandError as error:
        if error.status == 1:
            return False
        raise
    return True


def _trees(repository: Path, commit: str) -> list[str]:
    """Return the hash of each of :data:`SOURCES`."""
    names = [f"{commit}:{path}" for path in SOURCES]
    found = git("cat-file", "--batch-check", cwd=repository, stdin="\n".join([*names, ""]))
    lines = found.splitlines()
    lacking = [path for path, line in zip(SOURCES, lines, strict=True) if line.endswith(" missing")]
    if lacking:
        raise GitError(
            f"The commit {commit[:12]} has no {', '.join(lacking)}: a run needs it. Commit it."
        )
    return [line.split()[0] for line in lines]


def _paths(status: str) -> Iterator[str]:
    """Yield the paths of ``git status --porcelain -z --no-renames``, fit to be printed."""
    for entry in filter(None, status.split("\0")):
        yield os.fsencode(entry[3:]).decode(errors="backslashreplace")
