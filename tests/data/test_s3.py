"""S3: a failure is reported with its remedy, and leaves nothing that the next try does not fix.
A release is seen by others only when it is complete."""

import os
import signal
import subprocess
import sys

import pytest
from s3fs import S3FileSystem

from roadworthy.bundles import releases, stores
from roadworthy.core.settings import Settings
from roadworthy.data import dvc
from roadworthy.data import s3 as s3_client
from roadworthy.data.s3 import trouble
from roadworthy.tracking import records

OBJECTS = 4
"""Two files, the manifest and the directory."""
PUBLISH = """
import os, sys
from pathlib import Path
from roadworthy.bundles import bundle, releases
from roadworthy.core.settings import Settings
from roadworthy.data import git
if sys.argv[2] == "before git":
    git.release = lambda *arguments, **named: os.kill(os.getpid(), 9)
releases.publish(Settings(), bundle.read(Path(sys.argv[1])), "fuel-v1")
"""


@pytest.fixture
def storage(s3, proxy, monkeypatch):
    """A proxy before S3, and the variables that lead there."""
    before = proxy(s3.url)
    for name, value in s3.environment(before.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    # What was opened for another test has its address.
    S3FileSystem.clear_instance_cache()
    return before


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def settings(tmp_path, bare, bucket, storage) -> Settings:
    remote = {"dvc_remote": "s3", "dvc_remote_url": f"s3://{bucket}/dvc"}
    return Settings(home=tmp_path / "home", git_remote=str(bare.root), **remote)


@pytest.fixture
def one(publish, make_bundle):
    """A bundle to release, and a remote to release it to."""
    publish()
    return make_bundle("one")


def is_released(settings, released) -> bool:
    with releases.fetch(settings, "fuel", "fuel-v1") as fetched:
        return fetched.digest == released.digest


def is_invisible(bare, before) -> bool:
    return bare.snapshot() == before


@pytest.mark.parametrize(
    "message", ["", "No space left on device", "API failed with error code 403"]
)
def test_messages_of_others_are_not_taken_for_s3s(message):
    assert trouble(message) is None


def test_a_push_that_fails_is_seen_by_nobody_and_is_finished_by_the_next(
    settings, one, bare, storage
):
    before = bare.snapshot()
    broken = r"the connection to S3 broke\. Check AWS_ENDPOINT_URL, .*, and run again"
    # of what is still to be sent, the second fails one object later than the first
    for kind, first, cause in (
        ("403", 1, r"S3 refuses the credentials \(AccessDenied at PutObject\)\. Check AWS_ACCESS_"),
        ("half sent", 2, broken),
    ):
        fault = storage.break_(kind, method="PUT|POST", first=first)

        with pytest.raises(dvc.DvcError, match=rf"push bundles/fuel\.dvc: {cause}") as caught:
            releases.publish(settings, one, "fuel-v1")

        assert fault.hits
        assert "\n" not in str(caught.value)
        assert is_invisible(bare, before)
        storage.mend()
    releases.publish(settings, one, "fuel-v1")
    assert is_released(settings, one)


def test_an_s3_that_gives_no_answer_is_not_waited_for_long_and_the_next_try_ends_well(
    settings, one, bare, bucket, storage, monkeypatch
):
    before = bare.snapshot()
    runs, bundles = f"s3://{bucket}/runs", f"s3://{bucket}/bundles"
    # it takes what it is sent, and is silent until it is mended
    silent = storage.break_("delay", method="PUT|POST")
    remedy = "[Cc]heck AWS_ENDPOINT_URL, that S3 runs, and the network to it, and run again"

    with monkeypatch.context() as hasty:
        hasty.setattr(s3_client, "ATTEMPTS", 1)
        hasty.setattr(s3_client, "READ_SECONDS", 1)
        told = rf"push bundles/fuel\.dvc: S3 does not respond in time\. {remedy}\."
        with pytest.raises(dvc.DvcError, match=told) as caught:
            releases.publish(settings, one, "fuel-v1")
        hasty.setattr(s3_client, "READ_SECONDS", 0.2)
        told = rf"cannot be written \(S3 does not respond in time\).*{remedy}\."
        with pytest.raises(records.RecordError, match=told):
            records.put(runs, "run-1", "report.json", b"{}")
        told = (
            rf"\(S3 does not respond in time\)\. It is named by ROADWORTHY_BUNDLE_STORE: {remedy}"
        )
        with pytest.raises(stores.StoreError, match=told):
            stores.publish(bundles, one)

    assert "\n" not in str(caught.value)
    assert silent.hits
    assert is_invisible(bare, before)
    storage.mend()
    releases.publish(settings, one, "fuel-v1")
    assert is_released(settings, one)
    records.put(runs, "run-1", "report.json", b"{}")
    assert stores.publish(bundles, one).endswith(one.digest)


@pytest.mark.parametrize("when", ["while it uploads", "before git"])
def test_a_push_that_is_killed_is_seen_by_nobody_and_is_finished_by_the_next(
    settings, one, bare, bucket, s3, storage, when
):
    before = bare.snapshot()
    fault = storage.break_("delay", method="PUT|POST", first=OBJECTS)
    if when == "before git":
        fault.mend()
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, one.path, when],
        env={**os.environ, **settings.environment()},
        start_new_session=True,
    )
    if when == "while it uploads":
        assert fault.struck.wait(60)
        os.killpg(process.pid, signal.SIGKILL)

    assert process.wait(60) == -signal.SIGKILL
    assert is_invisible(bare, before)
    fault.mend()
    releases.publish(settings, one, "fuel-v1")
    assert is_released(settings, one)
    assert len(s3.keys(bucket)) == OBJECTS


def test_a_pull_that_fails_is_told_and_the_next_ends_well(settings, one, storage):
    releases.publish(settings, one, "fuel-v1")
    broken = r"the connection to S3 broke\. Check AWS_ENDPOINT_URL, .*, and run again"
    for kind, path, cause in (
        ("500", "", r"S3 has an internal error .*Wait until it is fixed, and run again"),
        # the list of the files comes, and they do not
        ("half body", r"/md5/../[0-9a-f]{30}$", broken),
    ):
        fault = storage.break_(kind, method="GET", path=path)

        with (
            pytest.raises(dvc.DvcError, match=rf"pull bundles/fuel\.dvc: {cause}") as caught,
            releases.fetch(settings, "fuel", "fuel-v1"),
        ):
            pytest.fail("it came, although it cannot have")

        assert fault.hits
        assert "\n" not in str(caught.value)
        storage.mend()
    assert is_released(settings, one)


@pytest.mark.parametrize(
    ("variables", "bucket", "cause"),
    [
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "cars",
            r"S3 cannot be reached\).*: check AWS_ENDPOINT",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "cars",
            r"there are no credentials for S3\).*: set AWS_ACCESS_KEY_ID",
        ),
        ({}, "not-there", r"S3 has no such bucket .*: create it, or name another"),
    ],
)
def test_what_is_wrong_with_an_s3_is_told(storage, monkeypatch, variables, bucket, cause):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(records.RecordError, match=cause):
        records.put(f"s3://{bucket}/runs", "run-1", "report.json", b"{}")


def test_records_are_kept_there_and_a_failure_is_told(bucket, storage, s3):
    place = f"s3://{bucket}/runs"
    with records.step(place, "run-1", "train") as record:
        record.summary = "5 candidates"

    assert s3.keys(bucket) == ["runs/run-1/step.train.json"]
    assert records.read(place, "run-1")[0].summary == "5 candidates"
    assert records.get(place, "run-1", "report.json") is None

    storage.break_("403")
    refused = r"cannot be written \(S3 refuses the credentials .*ROADWORTHY_RECORDS: check AWS"
    with pytest.raises(records.RecordError, match=refused):
        records.put(place, "run-1", "report.json", b"{}")
    with pytest.raises(records.RecordError, match=r"cannot be read \(S3 refuses the credentials"):
        records.read(place, "run-1")
