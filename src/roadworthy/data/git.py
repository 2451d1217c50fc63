"""Git: the clone a person works in, the remote that a run reads and releases to.

A run never touches the person's branch or work tree. The embedded remote is a bare repository that
follows the clone's HEAD; a release adds a commit and a tag to it, as it would on a server.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import tenacity

from roadworthy.commands import CommandError, call
from roadworthy.errors import RoadworthyError

RECIPE = ("src", "components", "pipelines", "requirements/pipeline.txt")
"""The paths that decide what a run makes of the data."""
RELEASES = "bundles"
"""The directory of the releases' ``.dvc`` files, which only a run writes."""

# A release is the pipeline's own commit, whoever runs it.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Roadworthy",
    "GIT_AUTHOR_EMAIL": "roadworthy@localhost",
    "GIT_COMMITTER_NAME": "Roadworthy",
    "GIT_COMMITTER_EMAIL": "roadworthy@localhost",
    "GIT_TERMINAL_PROMPT": "0",
}
_PUSH_ATTEMPTS = 5


class GitError(RoadworthyError):
    """Git cannot give what is asked for."""


class MovedError(GitError):
    """The remote's branch moved between fetch and push."""


@dataclass(frozen=True)
class Clone:
    """The state of a clone that a person works in."""

    root: Path
    commit: str
    changes: tuple[str, ...]
    """Paths with uncommitted changes, untracked ones among them."""


def git(*arguments: str | Path, cwd: Path | None = None, remedy: str = "") -> str:
    """Run git and return what it printed."""
    return call(["git", *arguments], cwd=cwd, environment=_IDENTITY, remedy=remedy)


def inspect(directory: Path) -> Clone:
    """Return the state of the clone that a directory is in.

    Raises
    ------
    GitError
        It is no clone, or has no commit.
    """
    root = inspect_root(directory)
    try:
        commit = git("rev-parse", "--verify", "HEAD^{commit}", cwd=root)
    except CommandError as error:
        raise GitError(
            f"The Git repository {root} has no commit yet: a run needs one to name what it used. "
            f"Run `git add --all && git commit`."
        ) from error
    status = git("status", "--porcelain", "-z", cwd=root)
    return Clone(root, commit, tuple(_paths(status)))


def inspect_root(directory: Path) -> Path:
    """Return the root of the clone that a directory is in.

    Raises
    ------
    GitError
        It is in no clone, or in one that Git does not trust.
    """
    try:
        return Path(git("rev-parse", "--show-toplevel", cwd=directory))
    except CommandError as error:
        if error.status == -1:
            raise
        if "dubious ownership" in error.output:
            raise GitError(
                f"Git does not trust {directory}, which belongs to another user: run "
                f"`git config --global --add safe.directory {directory}`."
            ) from error
        raise GitError(
            f"{directory} is not in a Git repository: run this in a clone of the project, or make "
            f"one with `git init && git add --all && git commit`."
        ) from error


def publish(clone: Clone, bare: Path, branch: str) -> None:
    """Bring the clone's HEAD to the embedded remote, which is made if it is not there.

    The remote's branch becomes HEAD, or, where releases were added to it meanwhile, a merge of
    both: HEAD's files and the remote's releases. The clone is only read.
    """
    if not (bare / "HEAD").exists():
        bare.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=bare.parent, prefix=".remote."))
        git("init", "--quiet", "--bare", f"--initial-branch={branch}", scratch)
        try:
            scratch.rename(bare)
        except OSError:  # another run made it in the same moment
            shutil.rmtree(scratch)
    incoming = f"refs/roadworthy/incoming/{clone.commit}"
    fetch = ("fetch", "--quiet", "--no-tags", "--update-shallow")
    git(*fetch, clone.root, f"+HEAD:{incoming}", cwd=bare)
    _advance(bare, f"refs/heads/{branch}", clone.commit)


@contextmanager
def checkout(remote: str, *, branch: str, commit: str = "") -> Iterator[Path]:
    """Give a scratch clone of the remote at a commit, or at the tip of its branch.

    Raises
    ------
    GitError
        The remote, the branch or the commit is not there.
    """
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        path = Path(scratch) / "clone"
        remedy = f"Check the setting ROADWORTHY_GIT_REMOTE ({remote}) and the access to it."
        git("clone", "--quiet", "--no-checkout", remote, path, remedy=remedy)
        target = commit or f"origin/{branch}"
        try:
            git("checkout", "--quiet", "--detach", target, cwd=path)
        except CommandError as error:
            raise GitError(
                f"The Git remote {remote} has no {target}: push it there first."
            ) from error
        yield path


def export(repository: Path, commit: str, target: Path) -> Path:
    """Write the recipe's files at a commit to a directory named by the commit, and return it."""
    directory = target / commit
    if directory.exists():
        return directory
    archive = _archive(repository, commit)
    target.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target, prefix=f".{commit[:12]}."))
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(scratch, filter="data")
    try:
        scratch.rename(directory)
    except OSError:  # another run wrote the same in the same moment
        shutil.rmtree(scratch)
    return directory


def recipe(repository: Path, commit: str, data_hash: str) -> str:
    """Return a hash that changes when the code, the lock file or the data does.

    A release's own commit does not change it, so a run after a release finds nothing new.
    """
    trees = [git("rev-parse", f"{commit}:{path}", cwd=repository) for path in RECIPE]
    return sha256("\n".join([*trees, data_hash]).encode()).hexdigest()


def tags(remote: str) -> dict[str, str]:
    """Return the commit that each tag of the remote names."""
    listed = git("ls-remote", "--tags", remote).splitlines()
    found = {}
    for line in listed:
        commit, reference = line.split("\t")
        # An annotated tag is listed twice: itself, and with ^{} the commit. The commit comes last.
        found[reference.removeprefix("refs/tags/").removesuffix("^{}")] = commit
    return found


def tag_message(repository: Path, tag: str) -> str:
    """Return the message of an annotated tag, or nothing when there is no such tag."""
    return git("tag", "--list", "--format=%(contents)", tag, cwd=repository)


def release(repository: Path, *, branch: str, tag: str, message: str, files: list[str]) -> str:
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
    GitError
        The tag is taken, or the branch kept moving, or the remote refuses.
    """
    contents = {name: (repository / name).read_bytes() for name in files}

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(MovedError),
        stop=tenacity.stop_after_attempt(_PUSH_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    def attempt() -> str:
        git("fetch", "--quiet", "origin", cwd=repository)
        git("checkout", "--quiet", "--force", "--detach", f"origin/{branch}", cwd=repository)
        for name, content in contents.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_bytes(content)
        git("add", "--force", "--", *files, cwd=repository)
        subject = message.splitlines()[0]
        git("commit", "--quiet", "--allow-empty", "-m", f"{subject} [skip ci]", cwd=repository)
        git("tag", "--force", "--annotate", tag, "-m", message, cwd=repository)
        _push(repository, f"HEAD:refs/heads/{branch}", f"refs/tags/{tag}")
        return git("rev-parse", "HEAD", cwd=repository)

    return attempt()


def _push(repository: Path, *references: str) -> None:
    try:
        git("push", "--quiet", "--atomic", "origin", *references, cwd=repository)
    except CommandError as error:
        if "already exists" in error.output:
            raise GitError(
                f"The Git remote already has one of {', '.join(references)} with another content; "
                f"nothing was overwritten. The registry and the remote's tags disagree: point "
                f"ROADWORTHY_MLFLOW_TRACKING_URI at the registry that made the tag."
            ) from error
        if any(word in error.output for word in ("fetch first", "non-fast-forward", "cannot lock")):
            raise MovedError(
                "The branch of the Git remote kept moving while a release was pushed. Run again."
            ) from error
        raise


def _advance(bare: Path, reference: str, commit: str) -> None:
    """Make a branch of the bare repository hold a commit, and its own releases too."""
    tip = git("for-each-ref", "--format=%(objectname)", reference, cwd=bare)
    if not tip:
        git("update-ref", reference, commit, "", cwd=bare)
        return
    if _is_ancestor(bare, commit, tip):
        return
    target = commit if _is_ancestor(bare, tip, commit) else _merge(bare, tip, commit)
    git("update-ref", reference, target, tip, cwd=bare)


def _merge(bare: Path, tip: str, commit: str) -> str:
    """Return a commit with the files of ``commit`` and the releases of ``tip``."""
    entries = [
        line
        for line in git("ls-tree", commit, cwd=bare).splitlines()
        if line.rpartition("\t")[2] != RELEASES
    ]
    entries += git("ls-tree", tip, RELEASES, cwd=bare).splitlines()
    tree = call(["git", "mktree"], cwd=bare, stdin="\n".join(entries) + "\n")
    message = f"Merge {commit[:12]}"
    return git("commit-tree", tree, "-p", tip, "-p", commit, "-m", message, cwd=bare)


def _is_ancestor(repository: Path, ancestor: str, commit: str) -> bool:
    try:
        git("merge-base", "--is-ancestor", ancestor, commit, cwd=repository)
    except CommandError as error:
        if error.status == 1:
            return False
        raise
    return True


def _archive(repository: Path, commit: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        git("archive", f"--output={file.name}", commit, *RECIPE, cwd=repository)
        return Path(file.name).read_bytes()


def _paths(status: str) -> Iterator[str]:
    """Yield the paths of ``git status --porcelain -z``; a rename names a second one after it."""
    fields = iter(status.split("\0"))
    for entry in fields:
        if entry:
            yield entry[3:]
            if entry[0] in "RC":
                next(fields, None)
