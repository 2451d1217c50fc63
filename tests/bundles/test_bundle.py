"""A bundle is what its manifest says, or is refused with a sentence that says what to do."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import BundleError, Manifest

MANIFEST = Manifest(
    model="fuel",
    commit="4f0c" * 10,
    data_hash="a304afb96060aad90176268345e10355",
    candidate="polynomial",
    parameters={"degree": 2, "kernel": "rbf"},
    metrics={"r2": 0.85, "cv_r2": 0.1 + 0.2},
    request={"properties": {"weight_kg": {"unit": "kg"}}},
    answer={"properties": {"l_per_100km": {"unit": "l/100 km"}}},
    packages={"numpy": "2.0.0"},
)
FILES = {
    bundle.MODEL: b"\x08\x0agraph",
    bundle.ESTIMATOR: b"\x80estimator",
    bundle.GOLDEN: bundle.encode(
        {"requests": [{"weight_kg": 1200.0}], "answers": [{"l_per_100km": 8.4}]}
    ),
    bundle.PROFILE: bundle.encode({"weight_kg": [1.0, 2.0]}),
    bundle.CARD: "# fuel, 90 % ± …\n".encode(),
    "figures/residuals.png": b"\x89PNG residuals",
    "figures/actual.png": b"\x89PNG actual",
}
names = st.sampled_from(sorted(FILES))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return bundle.write(tmp_path_factory.mktemp("bundles") / "whole", MANIFEST, FILES)


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole.path, tmp_path / "copy"))


def refused(path, *words, digest=None):
    """The sentence names the place, what is wrong and what to do."""
    with pytest.raises(BundleError) as caught:
        bundle.read(path, digest)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert sentence.endswith(".")
    for word in words:
        assert word in sentence
    return sentence


def edit(path, **changes):
    file = path / bundle.MANIFEST
    file.write_bytes(bundle.encode(json.loads(file.read_bytes()) | changes))


def test_what_is_written_is_read_again(whole):
    found = bundle.read(whole.path)

    assert found.digest == whole.digest
    assert replace(found.manifest, files={}) == MANIFEST
    assert found.graph == FILES[bundle.MODEL]
    assert found.golden.requests == [{"weight_kg": 1200.0}]
    assert found.golden.answers == [{"l_per_100km": 8.4}]
    assert found.profile == {"weight_kg": [1.0, 2.0]}
    assert found.figures == {"actual": b"\x89PNG actual", "residuals": b"\x89PNG residuals"}
    assert {name: (found.path / name).read_bytes() for name in FILES} == FILES


@given(order=st.permutations(sorted(FILES)))
@settings(max_examples=15)
def test_the_digest_depends_on_content_only(whole, tmp_path_factory, order):
    # given the same content in another order, another place and at another time
    files = {name: FILES[name] for name in order}
    place = tmp_path_factory.mktemp("elsewhere") / "deep" / "down"

    again = bundle.write(place, MANIFEST, files)

    assert again.digest == whole.digest
    assert (again.path / bundle.MANIFEST).read_bytes() == (
        whole.path / bundle.MANIFEST
    ).read_bytes()


@given(name=names, position=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=60)
def test_any_flipped_byte_of_any_file_is_refused(whole, tmp_path_factory, name, position, flip):
    path = Path(shutil.copytree(whole.path, tmp_path_factory.mktemp("x") / "copy"))
    content = bytearray((path / name).read_bytes())
    content[position % len(content)] ^= flip
    (path / name).write_bytes(content)

    refused(path, name, "sha256", "Fetch the bundle again")


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=100)
def test_any_flipped_byte_of_the_manifest_is_refused_or_changes_the_digest(
    whole, tmp_path_factory, position, flip
):
    # given
    path = Path(shutil.copytree(whole.path, tmp_path_factory.mktemp("x") / "copy"))
    content = bytearray((path / bundle.MANIFEST).read_bytes())
    content[position % len(content)] ^= flip
    (path / bundle.MANIFEST).write_bytes(content)

    # then who knows the digest is never served it
    refused(path, digest=whole.digest)

    # and who does not cannot take it for the same
    try:
        found = bundle.read(path).digest
    except BundleError:
        return
    assert found != whole.digest


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()

    refused(copy, f"lacks {name}", "Fetch the bundle again")


@pytest.mark.parametrize("name", ["notes.txt", "figures/manifest.json", ".hidden"])
def test_a_file_too_many_is_named(copy, name):
    (copy / name).write_text("strange")

    refused(copy, name, "does not name")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{}", b'{"files": ["model.onnx"]}'])
def test_a_broken_manifest_is_refused(copy, content):
    (copy / bundle.MANIFEST).write_bytes(content)

    refused(copy, bundle.MANIFEST, "Fetch the bundle again")


def test_what_a_newer_version_adds_to_the_manifest_is_ignored(copy, whole):
    edit(copy, colour="red")

    assert bundle.read(copy).manifest == whole.manifest


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": 99, "shape": "round"}])
def test_another_format_is_told_with_what_reads_it(copy, changes):
    edit(copy, **changes)

    refused(copy, f"format {changes['format']}", "version of roadworthy that made it")


def test_a_file_outside_of_the_bundle_is_never_read(copy):
    secret = copy.parent / "secret"
    secret.write_bytes(b"secret")
    edit(copy, files={"../secret": sha256(b"secret").hexdigest()})

    refused(copy, "../secret")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_where_there_is_no_bundle_it_says_how_to_make_one(tmp_path, name):
    (tmp_path / "empty").mkdir()

    refused(tmp_path / name, "not a model bundle", "roadworthy run")


def test_writing_again_replaces_what_was_there(tmp_path):
    former = bundle.write(tmp_path / "b", MANIFEST, FILES | {"old.txt": b"old"})
    other = bundle.write(tmp_path / "b", MANIFEST, FILES)

    assert other.digest != former.digest
    assert bundle.read(tmp_path / "b").digest == other.digest
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("broken_after", range(len(FILES) + 1))
def test_nothing_half_written_is_visible(tmp_path, monkeypatch, broken_after):
    # given a disk that fills up after some files
    former = bundle.write(tmp_path / "b", MANIFEST, FILES | {"old.txt": b"old"})
    written = []
    write_bytes = Path.write_bytes

    def until_full(path, content):
        if len(written) == broken_after:
            write_bytes(path, content[:3])
            raise OSError(28, "No space left on device")
        written.append(path)
        return write_bytes(path, content)

    # when a bundle is written over another, and one beside it
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", until_full)
        for name in ("b", "new"):
            written.clear()
            with pytest.raises(OSError, match="No space left"):
                bundle.write(tmp_path / name, MANIFEST, FILES)

    # then what was there is whole, what was not is not, and the next attempt ends well
    assert bundle.read(tmp_path / "b").digest == former.digest
    assert not (tmp_path / "new").exists()
    assert bundle.write(tmp_path / "new", MANIFEST, FILES)
