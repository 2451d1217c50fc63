"""What another program does wrong is told: which one, why, and what to do."""

import os
import sys

import pytest

from roadworthy.core.subprocesses import CommandError, call


def python(code, **options):
    return call([sys.executable, "-c", code], **options)


def test_it_returns_what_was_printed_without_the_last_lines_end():
    assert python("print('one\\ntwo\\n')") == "one\ntwo\n"


def test_an_error_names_the_program_the_cause_and_the_remedy():
    with pytest.raises(CommandError) as caught:
        call(["git", "cat-file", "-e", "0" * 40], cwd="/", remedy="Do this.")

    assert str(caught.value).startswith("`git cat-file` failed: fatal: ")
    assert str(caught.value).endswith(". Do this.")
    assert caught.value.status == 128


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("fatal: the cause.\n\nAnother program seems to run,\nremove the file", "fatal: the cause"),
        ("hint: x\nerror: first\nfatal: second", "error: first"),
        ("Traceback\n  line 1\nValueError: no", "ValueError: no"),
        ("", "status 3"),
    ],
)
def test_the_cause_is_the_first_complaint_or_the_last_line(said, cause):
    with pytest.raises(CommandError) as caught:
        python(f"import sys; sys.stderr.write({said!r}); sys.exit(3)")

    assert str(caught.value) == f"`{sys.executable}` failed: {cause}."
    assert caught.value.output == said


def test_a_program_that_was_killed_is_told_with_the_signal():
    with pytest.raises(CommandError, match="it was stopped by signal 9"):
        python("import os; os.kill(os.getpid(), 9)")


def test_a_program_that_is_not_there_is_to_be_installed():
    with pytest.raises(CommandError, match="no-such-program is not installed") as caught:
        call(["no-such-program"])

    assert caught.value.status == -1


def test_a_program_that_may_not_be_started_is_told(tmp_path):
    (tmp_path / "script").write_text("#!/bin/sh\n")

    with pytest.raises(CommandError, match=r"script cannot be started \(Permission denied\)"):
        call([tmp_path / "script"])


def test_a_directory_that_is_not_there_is_not_taken_for_the_program(tmp_path):
    with pytest.raises(CommandError, match="nowhere is not a directory"):
        python("", cwd=tmp_path / "nowhere")


def test_variables_are_added_and_taken_away(monkeypatch):
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("GONE", "gone")
    code = "import os; print(*[os.environ.get(n) for n in ('KEPT', 'GONE', 'NEW')])"

    assert python(code, environment={"GONE": None, "NEW": "new"}) == "kept None new"
    assert os.environ["GONE"] == "gone"


def test_bytes_that_are_no_text_come_through_unchanged():
    printed = python(r"import sys; sys.stdout.buffer.write(b'\xff\r\n\xc3\xbc')")

    echo = "import sys; sys.stdout.write(repr(sys.stdin.buffer.read()))"
    assert python(echo, stdin=printed) == r"b'\xff\r\n\xc3\xbc'"


def test_a_program_never_waits_for_the_terminal():
    assert python("import sys; print(repr(sys.stdin.read()))") == "''"
