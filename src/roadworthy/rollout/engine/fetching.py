"""Fetch the bundle of a version of the registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.bundles import bundle, releases, stores
from roadworthy.bundles.bundle import Bundle, BundleError
from roadworthy.core.settings import Settings


@contextmanager
def fetched(settings: Settings, model: str, number: int, digest: str) -> Iterator[Bundle]:
    """Yield the bundle of a version: the copy on this machine, or that of its release.

    Raises
    ------
    RoadworthyError
        It is neither here nor in the remotes.
    """
    try:
        placed = bundle.read(settings.bundles / digest, digest)
    except BundleError:
        with releases.fetch(settings, model, f"{model}-v{number}") as released:
            yield released
    else:
        yield placed


@contextmanager
def stored(settings: Settings, model: str, number: int, digest: str) -> Iterator[Bundle]:
    """Yield the bundle of a version, after publishing it to the store if it is not there.

    Raises
    ------
    StoreError
        The store fails.
    RoadworthyError
        The bundle is neither there nor in the remotes, or it is another one.
    """
    store = settings.bundle_store
    with tempfile.TemporaryDirectory() as scratch:
        try:
            kept = stores.fetch(store, model, digest, Path(scratch) / "bundle")
        except BundleError:
            with fetched(settings, model, number, digest) as released:
                if released.digest != digest:
                    raise BundleError(
                        f"The release {model}-v{number} is the bundle {released.digest[:12]}, the "
                        f"registry names {digest[:12]}. Use the registry that made the release."
                    ) from None
                stores.publish(store, released)
                yield released
        else:
            yield kept
