"""Every way in which Kubeflow does not answer is a sentence with a remedy, and no token in it."""

import ipaddress
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from roadworthy.engines.kubeflow.connection import (
    ConflictError,
    Connection,
    KubeflowError,
    RefusedError,
    UnreachableError,
    ensure,
    everything,
    named,
)
from roadworthy.engines.kubeflow.settings import KubeflowSettings
from tests.parts.kfp import Kubeflow

TOKEN = "very-secret-token"


def look(connection):
    return list(
        everything(
            connection.experiments.experiment_service_list_experiments,
            "experiments",
            **connection.where,
        )
    )


@pytest.fixture
def enter(kfp_api):
    """Connect with other settings than the defaults."""
    return lambda **chosen: Connection(KubeflowSettings(url=kfp_api.url, **chosen))


def test_the_token_is_shown_to_kubeflow(kfp_api, enter, tmp_path):
    kfp_api.token = TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    assert look(enter(token=TOKEN)) == []
    assert look(enter(token_path=tmp_path / "token")) == []


@pytest.mark.parametrize(
    ("shown", "told"), [("", "it demands a token"), (f"wrong-{TOKEN}", "the token is refused")]
)
def test_who_is_not_let_in_is_told_where_the_token_goes(kfp_api, enter, caplog, shown, told):
    kfp_api.token = "another"
    caplog.set_level(logging.DEBUG)

    with pytest.raises(RefusedError, match=rf"{told}.*ROADWORTHY_KFP_TOKEN") as caught:
        look(enter(token=shown))

    assert TOKEN not in f"{caught.value!r}{caught.value.__dict__}{caplog.text}"
    assert len(kfp_api.requests) == 1, "what is refused is not asked again"


@pytest.mark.parametrize("answer", ["page", "redirection"])
def test_a_page_where_people_sign_in_is_no_answer(kfp_api, enter, answer):
    if answer == "page":
        kfp_api.page = True
    else:
        kfp_api.refusal = 302

    with pytest.raises(RefusedError, match=r"page for people.*ROADWORTHY_KFP_TOKEN"):
        look(enter())


@pytest.mark.parametrize(
    ("its", "ours", "told"),
    [
        ("team", "other", r"forbids it in the namespace other .*ROADWORTHY_KFP_NAMESPACE"),
        ("team", "", r"refuses the namespace .*name the namespace that is yours in"),
        ("", "team", r"refuses the namespace .*unset ROADWORTHY_KFP_NAMESPACE"),
    ],
)
def test_a_wrong_namespace_is_told(kfp_api, enter, its, ours, told):
    kfp_api.namespace = its

    with pytest.raises(KubeflowError, match=told):
        look(enter(namespace=ours))


def test_the_right_namespace_is_named(kfp_api, enter):
    kfp_api.namespace = "team"

    assert look(enter(namespace="team")) == []


def test_where_nobody_listens_the_address_is_told(kfp_api, enter):
    connection = enter()
    kfp_api.stop()

    with pytest.raises(UnreachableError, match=r"nobody listens there.*ROADWORTHY_KFP_URL") as told:
        look(connection)
    assert "object at" not in str(told.value)


def test_a_name_that_is_not_known_is_told():
    connection = Connection(KubeflowSettings(url="http://kubeflow.invalid"))

    with pytest.raises(UnreachableError, match=r"kubeflow\.invalid \(its name is not known\)"):
        look(connection)


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


def test_a_certificate_that_nobody_knows_is_told_and_then_trusted(certificate):
    with Kubeflow(certificate=certificate) as kubeflow:
        with pytest.raises(RefusedError, match=r"is not trusted .*ROADWORTHY_KFP_CA_CERT"):
            look(Connection(KubeflowSettings(url=kubeflow.url)))

        assert look(Connection(KubeflowSettings(url=kubeflow.url, ca_cert=certificate[0]))) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_not_well_is_asked_again(kfp_api, enter, status):
    kfp_api.refusal = status

    with pytest.raises(UnreachableError, match=rf"is not well \({status}: It is refused\)"):
        look(enter())
    assert len(kfp_api.requests) == 3


def test_a_connection_that_is_cut_is_made_again(kfp_api, enter):
    kfp_api.cuts = 2

    assert look(enter()) == []


def test_what_kubeflow_has_not_got_and_what_it_does_not_take_are_told(kfp_api, enter):
    connection = enter()
    with pytest.raises(KubeflowError, match=r"has no such thing \(4711 not found\)"):
        connection.runs.run_service_get_run("4711")

    with pytest.raises(KubeflowError, match=r"refuses it \(400: Invalid input error: There is no"):
        connection.runs.run_service_list_runs(filter=named("x").replace("EQUALS", "IN"))


def test_a_list_is_read_from_all_of_its_pages(kfp_api, enter):
    connection = enter()
    for number in range(3):
        connection.experiments.experiment_service_create_experiment(
            {"display_name": f"experiment {number}"}
        )
    listing = connection.experiments.experiment_service_list_experiments

    pages = everything(lambda **asked: listing(**{**asked, "page_size": 1}), "experiments")

    assert [one.display_name for one in pages] == [f"experiment {n}" for n in range(3)]


@pytest.mark.parametrize("problem", [UnreachableError, ConflictError])
def test_what_was_made_although_nobody_said_so_is_not_made_twice(problem):
    made = []

    def make():
        made.append("one")
        raise problem("The answer was lost.")

    assert ensure(lambda: made[0] if made else None, make) == "one"
    assert made == ["one"]


def test_what_cannot_be_made_is_given_up():
    tried = []

    def make():
        tried.append(1)
        raise UnreachableError("It is away.")

    with pytest.raises(UnreachableError, match="It is away"):
        ensure(lambda: None, make)
    assert len(tried) == 3


def test_what_cannot_be_looked_for_is_not_looked_for_again_and_not_made():
    looked, made = [], []

    def find():
        looked.append(1)
        raise UnreachableError("It is away.")

    with pytest.raises(UnreachableError, match="It is away"):
        ensure(find, lambda: made.append(1))
    assert (len(looked), made) == (1, [])


@pytest.mark.parametrize(
    "body",
    [b"", b'{"experiments": [', b"[]", b'"x"', b"null", b"7", b'{"a": "\xff"}', b"[" * 100_000],
    ids=["empty", "half", "list", "text", "null", "number", "not UTF-8", "deep"],
)
def test_an_answer_that_is_no_object_does_not_mean_that_there_is_nothing(kfp_api, enter, body):
    kfp_api.body = body

    with pytest.raises(UnreachableError, match=r"broken off or no JSON object: wait a little"):
        look(enter())


def test_an_answer_in_letters_that_json_has_not_got_is_no_answer(kfp_api, enter):
    kfp_api.body, kfp_api.content_type = b"{}", "application/json; charset=runes"

    with pytest.raises(UnreachableError, match="no JSON object"):
        look(enter())


def _experiment(**fields):
    return json.dumps({"experiments": [{"experiment_id": "1", **fields}]})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"experiments": "many"}', "experiments is not a list"),
        ('{"experiments": {"a": 1}}', "experiments is not a list"),
        ('{"experiments": [null]}', "one of experiments is not an object"),
        ('{"experiments": ["one"]}', "one of experiments is not an object"),
        ('{"experiments": [{}]}', "experiment_id of one of experiments is not there"),
        ('{"experiments": [{"experiment_id": null}]}', "experiment_id of one of .* is not there"),
        (_experiment(display_name=7), "display_name is not a text"),
        (_experiment(created_at=7), "created_at is not a text"),
        (_experiment(created_at="soon"), "a value is of another kind"),
        (_experiment(storage_state="LOST", description=None), ""),
        ('{"next_page_token": []}', "next_page_token is not a text"),
    ],
)
def test_an_answer_of_another_shape_is_a_sentence(kfp_api, enter, body, told):
    kfp_api.body = body.encode()
    if not told:  # a newer Kubeflow may have more words than the client
        assert len(look(enter())) == 1
        return

    with pytest.raises(KubeflowError, match=rf"not of its API \({told}\): look whether this"):
        look(enter())


def test_a_list_whose_pages_have_no_end_is_told(kfp_api, enter):
    kfp_api.body = b'{"experiments": [{"experiment_id": "1"}], "next_page_token": "again"}'

    with pytest.raises(KubeflowError, match="gives a page of its experiments again and again"):
        look(enter())
    assert len(kfp_api.requests) == 2
