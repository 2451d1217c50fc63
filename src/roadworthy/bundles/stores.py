"""The store of bundles: where a cluster fetches them from, each at an address that never changes.

A bundle is at ``STORE/MODEL/DIGEST``. Its manifest is put there last, so it is complete when its
manifest is there; a directory appears whole. What is complete is never written again: pods may be
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
"""How many characters of a store's own words a sentence quotes."""

log = logging.getLogger(__name__)


class StoreError(RoadworthyError):
    """The store cannot take or give a bundle, or holds another one in its place."""


def address(store: str, model: str, digest: str) -> str:
    """Return where a bundle is in a store."""
    return f"{store.rstrip('/')}/{model}/{digest}"


def publish(store: str, published: Bundle) -> str:
    """Put a bundle into a store, and return its address when it is complete there.

    What is there already is read and checked, and not sent again. As long as the manifest is not
    there, nobody was given the address, so what another attempt left half sent is replaced.

    Parameters
    ----------
    store
        A directory or an object store's address, such as ``s3://bucket/bundles``.

    Raises
    ------
    StoreError
        The store cannot be reached, refuses, or holds something else at the address, which is left
        as it is.
    """
    whole = address(store, published.manifest.model, published.digest)
    with _opened(whole) as (files, root):
        if _is_directory(files):
            _make_directory(files, Path(root), published)
        _complete(files, root, published)
    return whole


def fetch(store: str, model: str, digest: str, target: Path) -> Bundle:
    """Copy a bundle from a store to a directory that is not there yet, and return it.

    Raises
    ------
    StoreError
        The store cannot be reached, or refuses.
    BundleError
        It is not there, or not complete, or not the one that the digest names.
    """
    whole = address(store, model, digest)
    with _opened(whole) as (files, root):
        found = _listed(files, root)
        if MANIFEST not in found:
            raise BundleError(f"{whole} holds no complete bundle. Release it again.")
        manifest = files.cat_file(f"{root}/{MANIFEST}")
        if sha256(manifest).hexdigest() != digest:
            raise BundleError(f"The {MANIFEST} in {whole} is not the one that was put there.")
        # The names are those of a manifest that was checked: none leads out of the directory.
        for name in (MANIFEST, *(name for name in json.loads(manifest)["files"] if name in found)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(files.cat_file(f"{root}/{name}"))
    return bundle.read(target, digest)


def _make_directory(files: Any, target: Path, published: Bundle) -> None:
    """Make the directory of a bundle that is not there yet, in one step for those who look."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
    try:
        _complete(files, str(scratch / "bundle"), published)
        (scratch / "bundle").rename(target)
    except OSError:
        if not target.exists():  # another one was faster: what it made is checked like any other
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _complete(files: Any, root: str, published: Bundle) -> None:
    """Put what is missing, the manifest last; refuse what does not belong there."""
    expected = {**published.manifest.files, MANIFEST: published.digest}
    found = _listed(files, root)
    if strange := sorted(found - set(expected)):
        raise StoreError(
            f"{_shown(files, root)} holds what the bundle does not name: {', '.join(strange)}, and "
            f"a server would refuse it. Take that away, and run again."
        )
    for name, digest in expected.items():
        if name in found:
            if sha256(files.cat_file(f"{root}/{name}")).hexdigest() == digest:
                continue
            _check_open(_shown(files, root), name, found)
        _put(files, f"{root}/{name}", _content(published, name, digest))


def _check_open(root: str, name: str, found: set[str]) -> None:
    """Refuse to write over a part of a bundle that was complete."""
    if MANIFEST in found:
        raise StoreError(
            f"{root}/{name} is not what was put there: its sha256 is another. It was left as it "
            f"is, as a server may be reading it. Find out who can write there, delete {root}, and "
            f"run again."
        )
    log.warning("%s/%s was sent in part: it is sent again.", root, name)


def _content(published: Bundle, name: str, digest: str) -> bytes:
    """Return a file of the bundle, as it was when the bundle was read."""
    content = (published.path / name).read_bytes()
    if sha256(content).hexdigest() != digest:
        raise BundleError(
            f"The file {name} of the bundle {published.path} was changed. Fetch the bundle again."
        )
    return content


def _put(files: Any, path: str, content: bytes) -> None:
    # An object store makes what leads to an object, and shows it when it is whole.
    if _is_directory(files):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.pipe_file(path, content)


def _listed(files: Any, root: str) -> set[str]:
    """Return the names of the files there, as a manifest names them."""
    files.invalidate_cache()
    found = map(str, files.find(root))
    # Of what begins to be there in that moment, the place itself may be among them.
    return {path.removeprefix(f"{root}/") for path in found if path.startswith(f"{root}/")}


def _shown(files: Any, root: str) -> str:
    return root if _is_directory(files) else str(files.unstrip_protocol(root))


def _is_directory(files: Any) -> bool:
    return "file" in files.protocol


@contextmanager
def _opened(whole: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of an address and the path in it; what fails there is a sentence."""
    try:
        # Others write there too: what an earlier look found is not kept.
        files, root = fsspec.core.url_to_fs(whole, skip_instance_cache=True, **s3.options(whole))
        yield files, str(root)
    except RoadworthyError:
        raise
    except FileNotFoundError as error:
        raise StoreError(
            f"There is no place for {whole} ({_cause(error)}). Make its bucket or directory, or "
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
        remedy = known.remedy if known else "see that it answers, and check AWS_ENDPOINT_URL"
        raise StoreError(
            f"The store did not do what it was asked at {whole} ({cause}). It is named by "
            f"ROADWORTHY_BUNDLE_STORE: {remedy}, and run again. What is there is not sent again."
        ) from error


def _cause(error: Exception) -> str:
    """Return the first line of what was raised."""
    told = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return told.rstrip(".")[:_SHOWN]
