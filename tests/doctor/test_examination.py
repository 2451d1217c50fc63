"""The checks run side by side, and whatever one of them does is a line."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.core.errors import RoadworthyError
from roadworthy.doctor import examination
from roadworthy.doctor.discretion import discreet
from roadworthy.doctor.examination import Check, Part, examine
from roadworthy.doctor.finding import Finding, missing, ok


def found(*checks, seconds=60.0):
    return [told.finding for told in examine([Part("Here", checks)], seconds)]


def test_one_that_crashes_is_a_line_and_the_others_go_on():
    def crash():
        raise ValueError("no such luck\nand more")

    before, line, after = found(
        Check("one", lambda: ok("one", "there"), ""),
        Check("two", crash, "mend two"),
        Check("three", lambda: ok("three", "there"), ""),
    )
    assert (before.state, after.state) == ("ok", "ok")
    assert line == missing("two", "could not be looked at (ValueError: no such luck)", "mend two")


def test_an_error_for_people_is_told_in_its_own_words():
    def fail():
        raise RoadworthyError("The registry does not answer.")

    assert found(Check("registry", fail, "mend")) == [
        missing("registry", "The registry does not answer.", "mend")
    ]


def test_one_that_hangs_is_a_line_and_the_others_go_on():
    # Given a check that waits for what never comes
    never = threading.Event()

    def hang():
        never.wait()
        return ()

    try:
        hanging = Check("hanging", hang, "mend it")
        # When it may take half a second
        line, other = found(hanging, Check("other", lambda: ok("other", ""), ""), seconds=0.5)
    finally:
        never.set()
    # Then it is told, and so is what the other found
    assert line == missing("hanging", "gave no answer in 0.5 s", "mend it")
    assert other.state == "ok"


def test_what_is_imported_takes_no_time_of_the_check(monkeypatch):
    # Given a module that takes longer to import than a check may take
    monkeypatch.setattr(examination.importlib, "import_module", lambda _: time.sleep(1))
    slow = Check("slow", lambda: ok("slow", ""), "mend", needs=("great",))
    other = Check("other", lambda: ok("other", ""), "mend")
    # When it runs, then neither it nor one that needs nothing is told to hang
    assert {one.state for one in found(slow, other, seconds=0.5)} == {"ok"}


def test_they_wait_beside_each_other():
    # Given two checks that only end together
    both = threading.Barrier(2, timeout=30)

    def wait():
        both.wait()
        return ok("waited", "")

    # When they run, then both end well
    assert {one.state for one in found(Check("a", wait, ""), Check("b", wait, ""))} == {"ok"}


def test_a_check_may_find_several_things_or_nothing():
    several = Check("several", lambda: [ok("a", ""), ok("b", "")], "")
    assert [one.name for one in found(several, Check("none", tuple, ""))] == ["a", "b"]


@given(
    secret=st.text(st.characters(categories=("L", "N"), max_codepoint=127), min_size=8),
    before=st.text(),
    after=st.text(),
)
def test_no_secret_of_the_environment_is_told(secret, before, after):
    environment = {"ROADWORTHY_GIT_TOKEN": secret, "ROADWORTHY_GIT_USER": "oauth2"}
    told = discreet(missing("a", f"{before}{secret}{after}", f"say {secret}"), environment)
    assert secret not in told.told + told.remedy or secret in "[hidden]"


def test_no_password_in_an_address_is_told():
    told = discreet(Finding("a", "ok", "https://me:word@git.example/p.git?x=1", ""), {})
    assert told.told == "https://git.example/p.git?x=1"


def test_what_only_names_a_secret_is_told():
    environment = {"MLFLOW_TRACKING_TOKEN_FILE": "/run/secrets/token"}
    line = ok("a", "/run/secrets/token is not there")
    assert discreet(line, environment) == line
