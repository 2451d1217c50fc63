"""Starts that fail, in this process: nothing is listened to."""

import pytest

from roadworthy.serving.__main__ import main
from roadworthy.serving.settings import ServerSettings, UsageError


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "either --routing DIR, or --bundle DIR --version N"),
        (["--routing", "{d}", "--bundle", "{d}", "--version", "1"], 2, "either --routing DIR"),
        (["--bundle", "{d}"], 2, "give --bundle with --version"),
        (["--routing", "{d}", "--max-rows", "0"], 2, "must be positive"),
        (["--routing", "{d}", "--max-in-flight", "0"], 2, "must be positive"),
        (["--routing", "{d}", "--request-seconds", "0"], 2, "must be positive"),
        (["--routing", "{d}", "--drain-seconds", "-1"], 2, "must be positive"),
        (["--routing", "{d}", "--grpc-port", "0"], 2, "port for gRPC"),
        (["--routing", "{d}", "--cors-origin", "*"], 2, "'*' is not an origin"),
        (
            ["--routing", "{d}", "--token-file", "{d}/none"],
            1,
            "{d}/none with the token cannot be read",
        ),
        (["--routing", "{d}", "--workers", "0"], 2, "must be positive"),
        (["--routing", "{d}/nowhere", "--workers", "2"], 1, "There is no directory {d}/nowhere"),
        (["--routing", "{d}/nowhere"], 1, "There is no directory {d}/nowhere"),
        (["--routing", "{d}", "--client", "{d}/nowhere"], 1, "There is no directory {d}/nowhere"),
        (["--routing", "{d}", "--port", "70000"], 1, "cannot listen at 127.0.0.1 port 70000"),
        (["--routing", "{d}", "--host", "256.1.1.1"], 1, "cannot listen at 256.1.1.1"),
        (["--bundle", "{d}", "--version", "1", "--port", "0"], 1, "is not a model bundle"),
    ],
)
def test_an_error_at_the_start_is_one_line(arguments, code, sentence, tmp_path, capsys):
    assert main([argument.format(d=tmp_path) for argument in arguments]) == code

    text = capsys.readouterr().err
    assert sentence.format(d=tmp_path) in text
    assert text.count("\n") == 1


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--rod", "x"])

    assert caught.value.code == 2


def test_an_unknown_log_level_is_refused(tmp_path):
    with pytest.raises(UsageError, match="debug, info, warning, error"):
        ServerSettings(routing=tmp_path, log_level="loud")
