"""The bundle store: a cluster fetches bundles from it, each at an address that never changes.

A bundle is at ``STORE/MODEL/DIGEST``. Its manifest is written last, so a bundle with a manifest is
complete; a local directory appears whole. A complete bundle is never overwritten: pods may be
reading it.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import MANIFEST, Bundle, BundleError
from roadworthy.core.errors import RoadworthyError
from roadworthy.data import s3

_SHOWN = 200
"""How many characters of a store's own message are quoted."""

log = logging.getLogger(__name__)


class StoreError(RoadworthyError):
    """The store cannot write or read a bundle, or holds another one in its place."""


def address(store: str, model: str, digest: str) -> str:
    """Return where a bundle is in a store."""
    return f"{store.rstrip('/')}/{model}/{digest}"


def publish(store: str, published: Bundle) -> str:
    """Write a bundle to a store and return its address.

    Files that exist are read, checked and not sent again. While the manifest is missing, nobody has
    the address, so the rest of an interrupted attempt is replaced.

    Parameters
    ----------
    store
        A directory or an object store's address, such as ``s3://bucket/bundles``.

    Raises
    ------
    StoreError
        The store cannot be reached, refuses, or holds something else at the address, which stays
        unchanged.
    """
    whole = address(store, published.manifest.model, published.digest)
    with _opened(whole) as (files, root):
        if _is_directory(files):
            _make_directory(files, Path(root), published)
        _complete(files, root, published)
    return whole


def fetch(store: str, model: str, digest: str, target: Path) -> Bundle:
    """Copy a bundle from a store to a new directory and return it.

    Raises
    ------
    StoreError
        The store cannot be reached, or refuses.
    BundleError
        It does not exist, is incomplete, or has another digest.
    """
    whole = address(store, model, digest)
    with _opened(whole) as (files, root):
        found = _listed(files, root)
        if MANIFEST not in found:
            raise BundleError(f"{whole} holds no complete bundle. Release it again.")
        manifest = files.cat_file(f"{root}/{MANIFEST}")
        if sha256(manifest).hexdigest() != digest:
            raise BundleError(f"The {MANIFEST} in {whole} is not the one that was put there.")
        # The digest of the manifest is checked, so none of its names leads out of the directory.
        for name in (MANIFEST, *(name for name in json.loads(manifest)["files"] if name in found)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(files.cat_file(f"{root}/{name}"))
    return bundle.read(target, digest)


def _make_directory(files: Any, target: Path, published: Bundle) -> None:
    """Create the directory of a bundle in one step, if it does not exist."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
    try:
        _complete(files, str(scratch / "bundle"), published)
        (scratch / "bundle").rename(target)
    except OSError:
        if not target.exists():  # otherwise another process was faster; its files are checked
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _complete(files: Any, root: str, published: Bundle) -> None:
    """Write the missing files, the manifest last; refuse files that the bundle does not have."""
    expected = {**published.manifest.files, MANIFEST: published.digest}
    found = _listed(files, root)
    if strange := sorted(found - set(expected)):
        raise StoreError(
            f"{_shown(files, root)} holds what the bundle does not name: {', '.join(strange)}, and "
            f"a server would refuse it. Remove that, and run again."
        )
    for name, digest in expected.items():
        if name in found:
            if sha256(files.cat_file(f"{root}/{name}")).hexdigest() == digest:
                continue
            _check_open(_shown(files, root), name, found)
        _put(files, f"{root}/{name}", _content(published, name, digest))


def _check_open(root: str, name: str, found: set[str]) -> None:
    """Refuse to overwrite a file of a complete bundle."""
    if MANIFEST in found:
        raise StoreError(
            f"{root}/{name} is not what was put there: its sha256 is another. It was left as it "
            f"is, as a server may be reading it. Find out who can write there, delete {root}, and "
            f"run again."
        )
    log.warning("%s/%s was sent in part and is sent again.", root, name)


def _content(published: Bundle, name: str, digest: str) -> bytes:
    """Return a file of the bundle, as it was when the bundle was read."""
    content = (published.path / name).read_bytes()
    if sha256(content).hexdigest() != digest:
        raise BundleError(
            f"The file {name} of the bundle {published.path} was changed. Fetch the bundle again."
        )
    return content


def _put(files: Any, path: str, content: bytes) -> None:
    # An object store needs no directories, and shows an object when it is complete.
    if _is_directory(files):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.pipe_file(path, content)


def _listed(files: Any, root: str) -> set[str]:
    """Return the names of the files there, as a manifest names them."""
    files.invalidate_cache()
    found = map(str, files.find(root))
    # A path that is being created may be listed itself.
    return {path.removeprefix(f"{root}/") for path in found if path.startswith(f"{root}/")}


def _shown(files: Any, root: str) -> str:
    return root if _is_directory(files) else str(files.unstrip_protocol(root))


def _is_directory(files: Any) -> bool:
    return "file" in files.protocol


@contextmanager
def _opened(whole: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of an address and the path in it; translate its errors."""
    try:
        # Others write there too: no listing is cached.
        files, root = fsspec.core.url_to_fs(whole, skip_instance_cache=True, **s3.options(whole))
        yield files, str(root)
    except RoadworthyError:
        raise
    except FileNotFoundError as error:
        raise StoreError(
            f"There is no place for {whole} ({_cause(error)}). Create its bucket or directory, or "
            f"name another one in ROADWORTHY_BUNDLE_STORE, and run again."
        ) from error
    except PermissionError as error:
        raise StoreError(
            f"The store refuses access to {whole} ({_cause(error)}). Let the credentials list, "
            f"read and write there, and run again."
        ) from error
    except Exception as error:  # each kind of store raises its own
        known = s3.explained(error)
        cause = known.cause if known else _cause(error)
        remedy = known.remedy if known else "check that it responds, and AWS_ENDPOINT_URL"
        raise StoreError(
            f"The bundle store failed at {whole} ({cause}). It is named by "
            f"ROADWORTHY_BUNDLE_STORE: {remedy}, and run again. What is there is not sent again."
        ) from error


def _cause(error: Exception) -> str:
    """Return the first line of what was raised."""
    told = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return told.rstrip(".")[:_SHOWN]
