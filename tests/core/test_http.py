"""A client of the model server shows the token that it was told, and nothing else."""

import pytest
from pydantic import SecretStr

from roadworthy.core.http import connect
from roadworthy.core.settings import TokenError


@pytest.mark.parametrize("token", [None, SecretStr("")])
def test_without_a_token_none_is_shown(token):
    with connect("http://127.0.0.1:1", token) as client:
        assert "authorization" not in client.headers


def test_the_token_is_shown_and_not_told():
    with connect("http://127.0.0.1:1", SecretStr("s3cret")) as client:
        assert client.headers["authorization"] == "Bearer s3cret"
        assert "s3cret" not in repr(client.headers)


def test_a_token_is_shown_without_the_white_space_around_it():
    with connect("http://127.0.0.1:1", SecretStr("s3cret\n")) as client:
        assert client.headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("sign", ["\n", "é", "→"])
def test_a_token_that_cannot_be_shown_is_not_told(sign):
    with pytest.raises(TokenError) as caught:
        connect("http://127.0.0.1:1", SecretStr(f"s3cret{sign}s3cret"))

    assert "s3cret" not in str(caught.value)
