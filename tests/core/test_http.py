"""A client of the model server shows the token that it was told, and nothing else."""

import pytest
from pydantic import SecretStr

from roadworthy.core.http import connect
from roadworthy.core.settings import TokenError


@pytest.mark.parametrize(
    ("token", "shown"), [(None, None), ("", None), ("s3cret\n", "Bearer s3cret")]
)
def test_a_token_is_sent_where_there_is_one_and_not_shown(token, shown):
    with connect("http://127.0.0.1:1", None if token is None else SecretStr(token)) as client:
        assert client.headers.get("authorization") == shown
        assert "s3cret" not in repr(client.headers)


@pytest.mark.parametrize("sign", ["\n", "é", "→"])
def test_a_token_that_cannot_be_shown_is_not_told(sign):
    with pytest.raises(TokenError) as caught:
        connect("http://127.0.0.1:1", SecretStr(f"s3cret{sign}s3cret"))

    assert "s3cret" not in str(caught.value)
