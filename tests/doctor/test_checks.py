"""Checks run side by side, and whatever one of them does is a line."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.errors import RoadworthyError
from roadworthy.doctor import checks
from roadworthy.doctor.checks import Check, Part, examine
from roadworthy.doctor.finding import Finding, missing, ok, without_secrets


def found(*listed, seconds=60.0):
    return [told.finding for told in examine([Part("Here", listed)], seconds)]


def test_one_that_fails_crashes_or_finds_several_things_is_told_and_the_others_go_on():
    def crash():
        raise ValueError("no such luck\nand more")

    def fail():
        raise RoadworthyError("The registry does not respond.")

    assert found(
        Check("one", lambda: ok("one", "there"), ""),
        Check("two", crash, "fix two"),
        Check("three", fail, "fix three"),
        Check("four", lambda: [ok("a", ""), ok("b", "")], ""),
        Check("five", tuple, ""),
    ) == [
        ok("one", "there"),
        missing("two", "the check failed (ValueError: no such luck)", "fix two"),
        missing("three", "The registry does not respond.", "fix three"),
        ok("a", ""),
        ok("b", ""),
    ]


def test_one_that_hangs_is_a_line_and_the_others_go_on():
    never, both = threading.Event(), threading.Barrier(2, timeout=30)

    def wait():
        both.wait()
        return ok("waited", "")

    hanging = Check("hanging", never.wait, "fix it")
    line, *others = found(hanging, Check("a", wait, ""), Check("b", wait, ""), seconds=0.5)
    never.set()

    assert line == missing("hanging", "no response within 0.5 s", "fix it")
    assert {one.state for one in others} == {"ok"}


def test_imports_take_no_time_of_a_check(monkeypatch):
    monkeypatch.setattr(checks.importlib, "import_module", lambda _: time.sleep(1))
    slow = Check("slow", lambda: ok("slow", ""), "fix", needs=("great",))
    assert {one.state for one in found(slow, seconds=0.5)} == {"ok"}


@given(
    secret=st.text(st.characters(categories=("L", "N"), max_codepoint=127), min_size=8),
    before=st.text(),
    after=st.text(),
)
def test_no_secret_of_the_environment_is_told(secret, before, after):
    environment = {"ROADWORTHY_GIT_TOKEN": secret, "ROADWORTHY_GIT_USER": "oauth2"}
    told = without_secrets(missing("a", f"{before}{secret}{after}", f"say {secret}"), environment)
    assert secret not in told.told + told.remedy or secret in "[hidden]"


def test_no_password_in_an_address_is_told_and_the_name_of_a_secrets_file_is():
    told = without_secrets(Finding("a", "ok", "https://me:word@git.example/p.git?x=1"), {})
    assert told.told == "https://git.example/p.git?x=1"
    environment = {"MLFLOW_TRACKING_TOKEN_FILE": "/run/secrets/token"}
    line = ok("a", "/run/secrets/token is not there")
    assert without_secrets(line, environment) == line
