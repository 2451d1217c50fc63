import json
import shutil
from pathlib import Path

import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import BundleError
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.serving.models.model_store import ModelStore, Watcher, load


@pytest.fixture
def damaged(bundles, tmp_path) -> Path:
    """A copy of the second bundle with one byte changed."""
    copy = tmp_path / "damaged"
    shutil.copytree(bundles[1].path, copy)
    graph = bytearray((copy / bundle.MODEL).read_bytes())
    graph[-1] ^= 1
    (copy / bundle.MODEL).write_bytes(graph)
    return copy


@pytest.fixture
def remade(bundles, tmp_path):
    """Write the first bundle again with other files or another manifest."""

    def make(files=(), **manifest) -> bundle.Bundle:
        source = bundles[0]
        kept = {name: (source.path / name).read_bytes() for name in source.manifest.files}
        changed = bundle.Manifest(**{**vars(source.manifest), **manifest})
        return bundle.write(tmp_path / "remade", changed, kept | dict(files))

    return make


def test_a_refused_version_is_tried_again_and_logged_once(
    bundles, release, damaged, tmp_path, caplog
):
    routings = tmp_path / "routing"
    routes.write(routings, Routing("fuel", routes.Release(2, str(damaged), bundles[1].digest, "")))
    store = ModelStore()
    watcher = Watcher(store, routings, 60, retry_seconds=0)
    watcher.poll()
    watcher.poll()
    assert not store.ready
    assert caplog.text.count("is refused") == 1

    shutil.copy(bundles[1].path / bundle.MODEL, damaged / bundle.MODEL)
    watcher.poll()

    assert store.models["fuel"].champion.version == 2


def otherwise(bundles) -> dict[str, bytes]:
    """A golden batch with one answer that is a little different."""
    golden = json.loads((bundles[0].path / bundle.GOLDEN).read_bytes())
    golden["answers"][3]["mpg"] *= 1.0001
    return {bundle.GOLDEN: bundle.encode(golden)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (lambda of: {"model": "oil"}, "is of the model oil, not of fuel"),
        (lambda of: {"files": otherwise(of)}, "as when it was trained: the field mpg differs"),
        (lambda of: {"files": {bundle.MODEL: b"not a graph"}}, "cannot be served"),
        (
            lambda of: {"request": of[0].manifest.request | {"properties": {}}},
            "but the graph takes",
        ),
    ],
)
def test_a_bundle_that_cannot_be_served_is_refused(bundles, release, remade, changes, sentence):
    with pytest.raises(BundleError, match=sentence):
        load("fuel", release(1, remade(**changes(bundles))))


def test_a_bundle_that_is_not_the_released_one_is_refused(bundles):
    other = routes.Release(1, str(bundles[0].path), bundles[1].digest, "")

    with pytest.raises(BundleError, match="was released as"):
        load("fuel", other)


def test_a_promoted_challenger_is_not_loaded_again(bundles, release):
    store = ModelStore()
    first, second = release(1, bundles[0]), release(2, bundles[1])
    store.apply(Routing("fuel", first, second))
    challenger = store.models["fuel"].challenger

    store.apply(Routing("fuel", second))

    model = store.models["fuel"]
    assert model.champion.scorer is challenger.scorer
    assert model.challenger is None
    assert list(model.versions) == ["2"]


def test_a_request_keeps_what_it_got_while_the_version_changes(bundles, release):
    store = ModelStore()
    store.apply(Routing("fuel", release(1, bundles[0])))
    in_flight = store.models["fuel"].champion
    before = in_flight.scorer.score(in_flight.schema.columns([{"weight_kg": 1200, "year": 1980}]))

    store.apply(Routing("fuel", release(2, bundles[1])))

    after = in_flight.scorer.score(in_flight.schema.columns([{"weight_kg": 1200, "year": 1980}]))
    assert after == before


@pytest.mark.parametrize(
    "content", ["", "[]", '{"model": "fuel"}', '{"model": "fuel", "champion": 3}']
)
def test_a_damaged_routing_file_is_logged_and_the_versions_stay(
    bundles, release, tmp_path, caplog, content
):
    routes.write(tmp_path, Routing("fuel", release(1, bundles[0])))
    store = ModelStore()
    watcher = Watcher(store, tmp_path, 60)
    watcher.poll()

    (tmp_path / "fuel.json").write_text(content)
    watcher.poll()

    assert store.models["fuel"].champion.version == 1
    assert "is damaged" in caplog.text


def test_the_watcher_goes_on_after_an_unexpected_error(
    bundles, release, tmp_path, caplog, eventually
):
    class Stumbling(ModelStore):
        falls = 1

        def apply(self, routing: Routing) -> bool:
            if self.falls:
                self.falls -= 1
                raise ZeroDivisionError
            return super().apply(routing)

    store = Stumbling()
    watcher = Watcher(store, tmp_path, 0.01)
    watcher.start()
    routes.write(tmp_path, Routing("fuel", release(1, bundles[0])))
    eventually(lambda: "ZeroDivisionError" in caplog.text, "the first fall")
    routes.write(tmp_path, Routing("fuel", release(2, bundles[1])))

    eventually(lambda: store.ready, "version 2")
    watcher.stop()
