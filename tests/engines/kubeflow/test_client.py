"""Each failure of Kubeflow is a sentence with a remedy, and no token in it."""

import ipaddress
import json
import logging
from datetime import UTC, datetime, timedelta

import kfp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from roadworthy.engines.kubeflow.client import (
    Client,
    ConflictError,
    KubeflowError,
    RefusedError,
    UnavailableError,
    ensure,
    everything,
)
from roadworthy.engines.kubeflow.settings import KubeflowSettings
from tests.parts.kfp import Kubeflow

TOKEN = "very-secret-token"


def look(client):
    namespace = client.settings.namespace
    return list(everything(client.list_experiments, "experiments", namespace=namespace))


def test_a_token_file_is_read_for_each_request(kfp_api, connect, tmp_path):
    (tmp_path / "token").write_text("first\n")
    client = connect(token_path=tmp_path / "token")
    for token in ("first", "second"):
        kfp_api.token = token
        (tmp_path / "token").write_text(f"{token}\n")
        assert look(client) == []


@pytest.mark.parametrize(
    ("shown", "told"), [("", "a token is required"), (f"wrong-{TOKEN}", "the token is refused")]
)
def test_a_refused_login_names_the_settings_and_no_token(kfp_api, connect, caplog, shown, told):
    kfp_api.token = "another"
    caplog.set_level(logging.DEBUG)

    with pytest.raises(RefusedError, match=rf"{told}.*ROADWORTHY_KFP_TOKEN") as caught:
        look(connect(token=shown))

    assert TOKEN not in f"{caught.value!r}{caught.value.__dict__}{caplog.text}"
    assert len(kfp_api.requests) == 1, "a refusal is not tried again"


@pytest.mark.parametrize(("switch", "value"), [("page", True), ("refusal", 302)])
def test_a_sign_in_page_is_no_response(kfp_api, connect, switch, value):
    setattr(kfp_api, switch, value)

    with pytest.raises(RefusedError, match=r"a web page.*ROADWORTHY_KFP_TOKEN"):
        look(connect())


@pytest.mark.parametrize(
    ("its", "ours", "told"),
    [
        ("team", "other", r"forbids it in the namespace other .*ROADWORTHY_KFP_NAMESPACE"),
        ("team", "", r"namespace cannot be empty.*ROADWORTHY_KFP_NAMESPACE"),
        ("", "team", r"namespace cannot be specified.*ROADWORTHY_KFP_NAMESPACE"),
        ("team", "team", ""),
        ("kubeflow", "kubeflow", ""),
    ],
)
def test_a_wrong_namespace_is_told(kfp_api, connect, its, ours, told):
    kfp_api.namespace = its
    if not told:
        assert look(connect(namespace=ours)) == []
        return

    with pytest.raises(KubeflowError, match=told):
        look(connect(namespace=ours))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://kubeflow.invalid", "its name is unknown"),
    ],
)
def test_a_wrong_address_is_told(url, told):
    with pytest.raises(UnavailableError, match=rf"at {url} \({told}\).*ROADWORTHY_KFP_URL"):
        look(Client(KubeflowSettings(url=url)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate that nobody signed but itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Kubeflow")])
    now = datetime.now(UTC)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place = tmp_path_factory.mktemp("certificate")
    (place / "its.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place / "key.pem").write_bytes(private)
    return place / "its.pem", place / "key.pem"


def test_an_unknown_certificate_is_told_and_then_trusted(certificate):
    with Kubeflow(certificate=certificate) as kubeflow:
        with pytest.raises(RefusedError, match=r"is not trusted .*ROADWORTHY_KFP_CA_CERT"):
            look(Client(KubeflowSettings(url=kubeflow.url)))

        assert look(Client(KubeflowSettings(url=kubeflow.url, ca_cert=certificate[0]))) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_only_reads_is_tried_three_times(kfp_api, connect, status):
    kfp_api.refusal = status

    with pytest.raises(UnavailableError, match=rf"is unavailable \({status}: It is refused\)"):
        look(connect())
    assert len(kfp_api.requests) == 3

    kfp_api.refusal, kfp_api.cuts = 0, 2
    assert look(connect()) == []


def test_what_kubeflow_does_not_have_or_take_is_told(connect):
    with pytest.raises(KubeflowError, match=r"does not have it \(4711 not found\)"):
        connect().get_run("4711")
    unknown = json.dumps({"predicates": [{"key": "x", "operation": "IN"}]})
    with pytest.raises(KubeflowError, match=r"refuses the request \(400: Invalid input error: "):
        connect().list_runs(filter=unknown)


@pytest.mark.parametrize(
    "body",
    [b"", b'{"experiments": [', b"[]", b"null", b'{"a": "\xff"}', b"[" * 100_000],
    ids=["empty", "half", "list", "null", "not UTF-8", "deep"],
)
def test_half_a_response_does_not_mean_that_there_is_nothing(kfp_api, connect, body):
    kfp_api.body = body

    with pytest.raises(UnavailableError, match="no JSON object: run again"):
        look(connect())


def test_a_list_is_read_from_all_of_its_pages(client):
    for number in range(3):
        client.create_experiment(f"experiment {number}")

    pages = everything(
        lambda **asked: client.list_experiments(**asked | {"page_size": 1}), "experiments"
    )

    assert [one.display_name for one in pages] == [f"experiment {n}" for n in range(3)]


@pytest.mark.parametrize("problem", [UnavailableError, ConflictError])
def test_what_was_made_although_nobody_said_so_is_not_made_twice(problem):
    made = []

    def make():
        made.append("one")
        raise problem("The response was lost.")

    assert ensure(lambda: made[0] if made else None, make) == "one"
    assert made == ["one"]


def test_what_cannot_be_made_is_given_up():
    tried = []

    def make():
        tried.append(1)
        raise UnavailableError("It is away.")

    with pytest.raises(UnavailableError, match="It is away"):
        ensure(lambda: None, make)
    assert len(tried) == 3


def test_a_client_asks_and_writes_nothing_when_it_is_made(kfp_api, connect, monkeypatch, tmp_path):
    # given a multi-user Kubeflow, and a pod's namespace that kfp would save
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    (tmp_path / "namespace").write_text("team")
    monkeypatch.setattr(kfp.Client, "_NAMESPACE_PATH", str(tmp_path / "namespace"))

    connect()

    assert kfp_api.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["namespace"]
