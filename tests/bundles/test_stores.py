"""A bundle in the store is complete or not there for anybody, and never another than before."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest
import s3fs

from roadworthy.bundles import bundle, stores
from roadworthy.bundles.bundle import MANIFEST, BundleError
from roadworthy.bundles.stores import StoreError, fetch, publish
from roadworthy.data import s3 as s3_client

NAMES = {MANIFEST, "model.onnx", "figures/parity.png"}


@pytest.fixture
def made(make_bundle):
    return make_bundle()


@pytest.fixture
def enter(s3, monkeypatch):
    """Show everything in this process the S3 server, or what stands before it."""

    def shown(url=""):
        for name, value in s3.environment(url).items():
            monkeypatch.setenv(name, value)

    return shown


@pytest.fixture
def bucket(s3, enter):
    enter()
    return s3.bucket()


@pytest.fixture(params=["directory", "s3"])
def place(request, tmp_path):
    """A store of each kind."""
    if request.param == "directory":
        return str(tmp_path / "store")
    return f"s3://{request.getfixturevalue('bucket')}/bundles"


@pytest.fixture
def hasty(monkeypatch):
    """Have the clients of S3 give up soon: how often they try is not what is tested."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)


def held(whole):
    """Return the content of every file of a bundle in its store, by name."""
    files, root = fsspec.core.url_to_fs(whole, skip_instance_cache=True)
    found = files.find(root)
    return {path.removeprefix(f"{root}/"): files.cat_file(path) for path in found}


def write(whole, name, content):
    files, root = fsspec.core.url_to_fs(whole, skip_instance_cache=True)
    if "file" in files.protocol:
        Path(root, name).parent.mkdir(parents=True, exist_ok=True)
    files.pipe_file(f"{root}/{name}", content)


def delete(whole, name):
    files, root = fsspec.core.url_to_fs(whole, skip_instance_cache=True)
    files.rm_file(f"{root}/{name}")


def test_what_is_published_is_fetched_from_an_address_named_by_its_content(place, made, tmp_path):
    whole = publish(place, made)

    assert whole == stores.address(f"{place}/", "fuel", made.digest)
    assert whole == f"{place}/fuel/{made.digest}"
    assert set(held(whole)) == NAMES
    found = fetch(place, "fuel", made.digest, tmp_path / "copy")
    assert (found.digest, found.graph) == (made.digest, made.graph)
    assert found.path == tmp_path / "copy"


def test_what_is_there_is_not_sent_again(s3, bucket, proxy, enter, made):
    address = f"s3://{bucket}/bundles"
    publish(address, made)
    between = proxy(s3.url)
    enter(between.url)

    publish(address, made)

    assert {method for method, _ in between.requests} == {"GET"}


def test_the_manifest_is_sent_last(s3, bucket, proxy, enter, made):
    between = proxy(s3.url)
    enter(between.url)

    publish(f"s3://{bucket}", made)

    sent = [path.partition(made.digest)[2] for method, path in between.requests if method == "PUT"]
    assert [path.strip("/").partition("?")[0] for path in sent][-1] == MANIFEST
    assert len(sent) == len(NAMES)


@pytest.mark.parametrize(
    ("wrong", "cause", "remedy"),
    [
        ("403", "Access Denied", "Let the credentials list, read and write there"),
        ("500", "S3 has an internal error (", "wait until it is fixed, and run again"),
        ("drop", "connection to S3 broke", "and the network to it, and run again"),
        ("half sent", "connection to S3 broke", "and the network to it, and run again"),
    ],
    ids=["403", "500", "drop", "half sent"],
)
def test_what_was_broken_off_is_not_complete_and_is_finished_by_the_next(
    s3, bucket, proxy, enter, make_bundle, tmp_path, hasty, wrong, cause, remedy
):
    # given a store that fails from the second object on
    address, made = f"s3://{bucket}/bundles", make_bundle("one")
    between = proxy(s3.url)
    enter(between.url)
    between.break_(wrong, method="PUT", first=2)
    with pytest.raises(StoreError) as caught:
        publish(address, made)
    told = str(caught.value)
    assert f"{address}/fuel/{made.digest}" in told
    assert cause in told
    assert remedy in told
    assert "run again" in told
    assert "\n" not in told
    # then nobody takes it for a bundle
    with pytest.raises(BundleError, match="no complete bundle"):
        fetch(address, "fuel", made.digest, tmp_path / "early")
    # and when the store works again, what is missing is sent
    between.mend()
    already = len(between.requests)
    publish(address, made)
    sent = [path for method, path in between.requests[already:] if method == "PUT"]
    assert len(sent) == len(NAMES) - 1
    assert fetch(address, "fuel", made.digest, tmp_path / "late").digest == made.digest


@pytest.mark.parametrize(
    ("wrong", "cause", "remedy"),
    [
        ("403", "Access Denied", "Let the credentials list, read and write there"),
        ("500", "S3 has an internal error (", "wait until it is fixed, and run again"),
        ("drop", "connection to S3 broke", "and the network to it, and run again"),
        ("half body", "connection to S3 broke", "and the network to it, and run again"),
    ],
    ids=["403", "500", "drop", "half body"],
)
def test_a_fetch_that_is_broken_off_is_told_and_the_next_ends_well(
    s3, bucket, proxy, enter, made, tmp_path, hasty, wrong, cause, remedy
):
    address = f"s3://{bucket}/bundles"
    whole = publish(address, made)
    between = proxy(s3.url)
    enter(between.url)
    fault = between.break_(wrong, method="GET", path="model.onnx")

    with pytest.raises(StoreError) as caught:
        fetch(address, "fuel", made.digest, tmp_path / "copy")

    told = str(caught.value)
    assert fault.hits
    assert whole in told
    assert cause in told
    assert remedy in told
    assert "run again" in told
    assert "\n" not in told
    between.mend()
    assert fetch(address, "fuel", made.digest, tmp_path / "copy").graph == made.graph


def test_a_body_of_which_half_comes_is_no_damage(s3, bucket, proxy, enter, made):
    address = f"s3://{bucket}"
    publish(address, made)
    between = proxy(s3.url)
    enter(between.url)
    between.break_("half body", method="GET", path="model.onnx", times=2)

    assert publish(address, made) == f"{address}/fuel/{made.digest}"


def test_a_file_that_was_sent_in_part_is_sent_again(place, made):
    whole = stores.address(place, "fuel", made.digest)
    write(whole, "model.onnx", b"o")

    publish(place, made)

    assert held(whole)["model.onnx"] == made.graph
    assert set(held(whole)) == NAMES


@pytest.mark.parametrize("name", ["model.onnx", MANIFEST])
def test_what_was_complete_is_never_written_over(place, made, tmp_path, name):
    whole = publish(place, made)
    write(whole, name, b"{}")

    with pytest.raises(StoreError, match="is not what was put there") as caught:
        publish(place, made)

    assert f"{whole}/{name}" in str(caught.value)
    assert held(whole)[name] == b"{}"
    with pytest.raises(BundleError):
        fetch(place, "fuel", made.digest, tmp_path / "copy")


def test_what_does_not_belong_there_is_told(place, made):
    whole = publish(place, made)
    write(whole, "figures/extra.png", b"\x89PNG")

    with pytest.raises(StoreError, match=r"does not name: figures/extra\.png"):
        publish(place, made)


def test_two_at_once_are_fine(place, made):
    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(lambda _: publish(place, made), range(8)))

    assert told == {f"{place}/fuel/{made.digest}"}
    assert set(held(told.pop())) == NAMES


def test_a_directory_appears_whole_also_when_its_maker_is_killed(make_bundle, tmp_path):
    made, place = make_bundle(), tmp_path / "store"
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from roadworthy.bundles import bundle\n"
        "from roadworthy.bundles import stores\nreal = stores._put\n"
        "def once(*arguments):\n    real(*arguments)\n    os._exit(9)\n"
        "stores._put = once\nstores.publish(sys.argv[1], bundle.read(Path(sys.argv[2])))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, place, made.path], check=False)
    assert killed.returncode == 9
    assert not (place / "fuel" / made.digest).exists()

    whole = publish(str(place), made)

    assert bundle.read(Path(whole), made.digest).graph == made.graph


def test_a_bundle_that_is_not_there_is_told(place, tmp_path):
    digest = sha256(b"").hexdigest()

    with pytest.raises(BundleError, match=f"fuel/{digest} holds no complete bundle"):
        fetch(place, "fuel", digest, tmp_path / "copy")


def test_a_bucket_that_is_not_there_is_told(bucket, made):
    with pytest.raises(StoreError, match="Create its bucket") as caught:
        publish("s3://nowhere/bundles", made)

    assert "ROADWORTHY_BUNDLE_STORE" in str(caught.value)


@pytest.mark.parametrize(
    "address", ["nonsense://bucket/bundles", "s3://bucket/bundles", "/proc/nowhere"]
)
def test_a_store_that_cannot_be_used_is_told(made, monkeypatch, address):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(StoreError, match="ROADWORTHY_BUNDLE_STORE"):
        publish(address, made)
