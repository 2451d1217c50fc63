"""Where Kubeflow is: wrong settings are told, and the token is shown to nobody."""

import pytest

from roadworthy.core.environment import SettingsError
from roadworthy.engines.kubeflow import settings
from roadworthy.engines.kubeflow.settings import KubeflowSettings

TOKEN = "very-secret-token"


def test_without_an_address_the_remedy_is_told():
    with pytest.raises(SettingsError, match="is not known: set ROADWORTHY_KFP_URL"):
        settings.required()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("URL", "kubeflow.example", "ROADWORTHY_KFP_URL: it is no address"),
        ("URL", "ftp://kubeflow.example", "ROADWORTHY_KFP_URL: it is no address"),
        ("URL", f"https://me:{TOKEN}@kubeflow.example", "does not belong into an address"),
        ("UI_URL", f"https://kubeflow.example/?token={TOKEN}", "does not belong into an address"),
        ("POLL_SECONDS", "0", "ROADWORTHY_KFP_POLL_SECONDS: Input should be greater than 0"),
        ("CA_CERT", "nowhere.pem", "ROADWORTHY_KFP_CA_CERT: there is no such file"),
        ("TOKEN_PATH", "nowhere", "ROADWORTHY_KFP_TOKEN_PATH: there is no such file"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable(monkeypatch, name, value, told):
    monkeypatch.setenv(f"ROADWORTHY_KFP_{name}", value)

    with pytest.raises(SettingsError, match=told) as caught:
        settings.from_environment()

    assert TOKEN not in str(caught.value)


def test_a_run_is_seen_in_the_pages_for_people():
    api = KubeflowSettings(url="https://kubeflow.example/pipeline/")
    own = KubeflowSettings(url="http://127.0.0.1:8888", ui_url="https://kubeflow.example/pages/")

    assert api.run_address("4711") == "https://kubeflow.example/pipeline/#/runs/details/4711"
    assert own.run_address("4711") == "https://kubeflow.example/pages/#/runs/details/4711"


def test_the_token_is_in_no_text_of_the_settings():
    chosen = KubeflowSettings(token=TOKEN)

    assert chosen.bearer() == TOKEN
    assert TOKEN not in f"{chosen!r} {chosen} {chosen.model_dump()} {chosen.model_dump_json()}"


def test_a_token_in_a_file_is_read_anew(tmp_path):
    (tmp_path / "token").write_text("first\n")
    chosen = KubeflowSettings(token_path=tmp_path / "token")
    assert chosen.bearer() == "first"

    (tmp_path / "token").write_text("second\n")
    assert chosen.bearer() == "second"

    (tmp_path / "token").unlink()
    with pytest.raises(SettingsError, match=r"cannot be read from .*ROADWORTHY_KFP_TOKEN_PATH"):
        chosen.bearer()


@pytest.mark.parametrize("value", [f"{TOKEN}\n", f" {TOKEN}", f"\t{TOKEN}\r\n"])
def test_the_white_space_around_a_token_is_not_part_of_it(monkeypatch, value):
    monkeypatch.setenv("ROADWORTHY_KFP_TOKEN", value)

    assert settings.from_environment().bearer() == TOKEN


@pytest.mark.parametrize("sign", ["\n", "\x1b", "\x7f", "é", "→", "\udcff"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_told(monkeypatch, sign):
    monkeypatch.setenv("ROADWORTHY_KFP_TOKEN", f"{TOKEN}{sign}{TOKEN}")

    with pytest.raises(SettingsError, match="ROADWORTHY_KFP_TOKEN: ") as caught:
        settings.from_environment()

    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__
    assert TOKEN not in str(caught.value.__context__)


@pytest.mark.parametrize("held", [b"two\nlines", b"\xff\xfe", "é".encode()])
def test_a_file_that_holds_no_token_is_told_by_its_name(tmp_path, held):
    (tmp_path / "token").write_bytes(held)

    with pytest.raises(SettingsError, match=r"In .*/token, the token holds a line break") as caught:
        KubeflowSettings(token_path=tmp_path / "token").bearer()
    assert "two" not in str(caught.value)
