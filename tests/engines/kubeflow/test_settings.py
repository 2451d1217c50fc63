"""Where Kubeflow is: wrong settings are told, and the token is shown to nobody."""

import pytest

from roadworthy.core.environment import SettingsError
from roadworthy.engines.kubeflow import settings
from roadworthy.engines.kubeflow.settings import KubeflowSettings

TOKEN = "very-secret-token"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("URL", "", "is not set: set ROADWORTHY_KFP_URL"),
        ("URL", "kubeflow.example", "ROADWORTHY_KFP_URL: it must begin with http"),
        ("URL", "ftp://kubeflow.example", "ROADWORTHY_KFP_URL: it must begin with http"),
        ("URL", f"https://me:{TOKEN}@kubeflow.example", "must not contain a user, password"),
        ("UI_URL", f"https://kubeflow.example/?token={TOKEN}", "must not contain a user"),
        ("POLL_SECONDS", "0", "ROADWORTHY_KFP_POLL_SECONDS: Input should be greater than 0"),
        ("CA_CERT", "nowhere.pem", "ROADWORTHY_KFP_CA_CERT: Path does not point to a file"),
        ("TOKEN_PATH", "nowhere", "ROADWORTHY_KFP_TOKEN_PATH: Path does not point"),
        *(("TOKEN", f"{TOKEN}{sign}{TOKEN}", "ROADWORTHY_KFP_TOKEN: ") for sign in "\n\x1bé\udcff"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_no_token(monkeypatch, name, value, told):
    monkeypatch.setenv(f"ROADWORTHY_KFP_{name}", value)

    with pytest.raises(SettingsError, match=told) as caught:
        settings.required()

    assert TOKEN not in str(caught.value)
    assert TOKEN not in str(caught.value.__context__)


@pytest.mark.parametrize("value", [TOKEN, f"{TOKEN}\n", f"\t{TOKEN}\r\n"])
def test_the_token_is_read_without_white_space_and_is_in_no_text(monkeypatch, value):
    monkeypatch.setenv("ROADWORTHY_KFP_TOKEN", value)

    chosen = settings.from_environment()

    assert chosen.bearer() == TOKEN
    assert TOKEN not in f"{chosen!r} {chosen} {chosen.model_dump()} {chosen.model_dump_json()}"


def test_a_token_file_is_read_anew_and_told_when_it_holds_no_token(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    chosen = KubeflowSettings(token_path=file)
    assert chosen.bearer() == "first"
    file.write_text("second\n")
    assert chosen.bearer() == "second"

    for held in (b"two\nlines", b"\xff\xfe", "é".encode()):
        file.write_bytes(held)
        with pytest.raises(SettingsError, match=r"In .*/token, the token holds a line") as caught:
            chosen.bearer()
        assert "two" not in str(caught.value)
    file.unlink()
    with pytest.raises(SettingsError, match=r"cannot be read from .*ROADWORTHY_KFP_TOKEN_PATH"):
        chosen.bearer()
