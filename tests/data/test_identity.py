"""In a cluster nobody has keys for S3: a pod's identity is exchanged for some that soon expire.

Keys are in no file that anybody commits or that a run writes.
"""

import re

import pytest
from s3fs import S3FileSystem

from roadworthy.bundles import releases, stores
from roadworthy.bundles.stores import StoreError
from roadworthy.data import dvc

SECRET = re.compile("access_key|secret|password", re.IGNORECASE)
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
IDENTITY = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
TOKEN = "a-token-of-the-cluster"
ROLE = "arn:aws:iam::123456789012:role/roadworthy-pipeline"


@pytest.fixture
def sts(s3, proxy, monkeypatch):
    """A proxy before the service that exchanges tokens; S3 is there, and no keys are."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    for name in (*KEYS, *IDENTITY):
        monkeypatch.delenv(name, raising=False)
    # What is open for another test has its keys, and what is opened here none.
    S3FileSystem.clear_instance_cache()
    before = proxy(s3.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", before.url)
    yield before
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def token(sts, tmp_path, monkeypatch):
    """The identity of a pod, as Kubernetes and a cloud's webhook give it to it."""
    file = tmp_path / "identity" / "token"
    file.parent.mkdir()
    file.write_text(TOKEN)
    for name, value in zip(IDENTITY, (str(file), ROLE), strict=True):
        monkeypatch.setenv(name, value)
    return file


@pytest.fixture
def address(s3):
    return f"s3://{s3.bucket()}"


def test_without_keys_and_identity_nothing_is_published(sts, address, make_bundle):
    with pytest.raises(StoreError, match="there are no credentials for S3") as caught:
        stores.publish(f"{address}/bundles", make_bundle())

    assert "ROADWORTHY_BUNDLE_STORE" in str(caught.value)
    assert sts.requests == []


def test_a_pods_identity_is_enough_to_publish_and_to_fetch(
    sts, token, address, make_bundle, tmp_path
):
    made = make_bundle()

    whole = stores.publish(f"{address}/bundles", made)

    assert whole == f"{address}/bundles/fuel/{made.digest}"
    assert (
        stores.fetch(f"{address}/bundles", "fuel", made.digest, tmp_path / "copy").digest
        == made.digest
    )
    assert {method for method, _ in sts.requests} == {"POST"}


def test_a_pods_identity_is_enough_to_release(
    sts, token, s3, address, settings, publish, make_bundle
):
    publish()
    settings = settings.model_copy(update={"dvc_remote": "s3", "dvc_remote_url": f"{address}/dvc"})

    commit = releases.publish(settings, make_bundle(), "fuel-v1")

    assert commit
    assert s3.keys(address.removeprefix("s3://"), "dvc/files/md5/")
    assert {method for method, _ in sts.requests} == {"POST"}


def test_no_key_is_in_what_a_run_tells_dvc(person, s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    dvc.configure(person.root, remote="s3", url="s3://bucket/dvc")

    text = (person.root / ".dvc" / "config.local").read_text()
    assert "s3://bucket/dvc" in text
    assert not SECRET.search(text)
    assert s3.secret not in text
