"""The data of the models: whether the DVC remote has what the clone's ``.dvc`` files name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadworthy.core.settings import Settings
from roadworthy.data import dvc, git
from roadworthy.doctor import buckets, reach
from roadworthy.doctor.finding import Finding, missing, ok

_LAYOUT = ("files", "md5")
"""Where in a remote DVC puts what it knows by content."""


def data(settings: Settings, directory: Path, *, for_pods: bool = False) -> Sequence[Finding]:
    """Look whether the DVC remote has the data of the clone's commit, a line for each file.

    Parameters
    ----------
    for_pods
        Whether it is to be a remote that pods reach.
    """
    root = git.inspect_root(directory)
    pointers = [
        path
        for path in git.git("ls-files", "--", "*.dvc", cwd=root).splitlines()
        if not path.startswith(f"{git.RELEASES}/") and (root / path).is_file()
    ]
    if not pointers:
        told = "no .dvc file is committed"
        return [missing("data", told, "dvc add data.csv && git add data.csv.dvc")]
    remote = _remote(settings, root, for_pods=for_pods)
    if isinstance(remote, Finding):
        return [remote]
    return [_object(settings, root, pointer, remote) for pointer in pointers]


def _remote(settings: Settings, root: Path, *, for_pods: bool) -> Finding | tuple[Any, str]:
    """Return the file system of the remote, as DVC opens it, and the path in it; or a problem.

    It is DVC's own reading of its settings, but no DVC repository, which would write to the clone.
    """
    from dvc.config import Config, ConfigError
    from dvc.fs import get_cloud_fs

    name, url = settings.dvc_remote, settings.dvc_remote_url
    if not (root / ".dvc").is_dir():
        return missing("DVC remote", f"{root} has no .dvc directory", "dvc init")
    chosen = {"remote": {name: {"url": url}}} if url else {}
    try:
        kind, options, path = get_cloud_fs(Config(str(root / ".dvc"), config=chosen), name=name)
    except ConfigError as error:
        return missing("DVC remote", f"{name}: {error}", f"dvc remote add {name} URL")
    if for_pods and kind.protocol == "local":
        return reach.unshared("DVC remote", "dvc_remote_url", f"{name}, which is {path},")
    if kind.protocol == "s3":
        # Asked first, because DVC would try again and again.
        found = buckets.bucket(path.partition("/")[0], ["the DVC remote"], options)
        if found.state != "ok":
            return found
    elif kind.protocol == "local" and not Path(path).is_dir():
        return missing("DVC remote", f"{name}: {path} is not there", "dvc push")
    return kind(**options), path


def _object(settings: Settings, root: Path, pointer: str, remote: tuple[Any, str]) -> Finding:
    name = pointer.removesuffix(".dvc")
    try:
        content = dvc.content_hash(root / pointer)
    except dvc.DvcError as error:
        return missing(name, str(error), f"dvc add {name}")
    files, path = remote
    if files.exists(files.join(path, *_LAYOUT, content[:2], content[2:])):
        return ok(name, f"in the DVC remote {settings.dvc_remote} ({content[:12]})")
    told = f"the DVC remote {settings.dvc_remote} does not have {content}"
    return missing(name, told, f"dvc push --remote {settings.dvc_remote} {pointer}")
