"""A report says how a run ended and why, and its page is safe, whole and readable by anybody."""

import json
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.tracking.records import STEPS, Record
from roadworthy.tracking.report import EXIT_CODES, conclude

STARTED = "2026-01-02T03:04:05.000+00:00"
ENDED = "2026-01-02T03:04:06.500+00:00"
PNG = b"\x89PNG\r\n\x1a\n figure"
CHECKS = [
    {
        "name": "r2",
        "comparison": "at least",
        "limit": 0.84,
        "unit": "",
        "description": "R² on mpg",
        "value": 0.875,
        "passed": True,
    },
    {
        "name": "mae_mpg",
        "comparison": "at most",
        "limit": 2.6,
        "unit": "mpg",
        "description": "mean absolute error",
        "value": math.nan,
        "passed": False,
    },
]
DETAILS = {
    "checkout": {"commit": "4f0c" * 10, "data_hash": "a304" * 8, "champion": 0, "new": True},
    "train": {
        "candidate": "ridge",
        "metrics": {"cv_r2": 0.89},
        "candidates": {
            "polynomial": {"parameters": {"degree": 2}, "metrics": {"cv_r2": 0.851}},
            "ridge": {"parameters": {}, "metrics": {"cv_r2": 0.892}},
        },
    },
    "evaluate": {
        "digest": "beef" * 16,
        "metrics": {"r2": 0.875, "rows": 84.0},
        "slices": {"origin=usa": {"r2": 0.8, "rows": 52.0}},
        "checks": [],
    },
    "gate": {"passed": True, "reasons": [], "checks": CHECKS[:1]},
    "release": {"tag": "fuel-v1", "commit": "abcd"},
}
FAILED_GATE = {"passed": False, "reasons": ["mae_mpg is nan", "r2 is 0.5"], "checks": CHECKS}
TRAINED = ("checkout", "prepare", "train", "evaluate", "gate")
RELEASED = (*TRAINED, "release", "stage", "canary", "promote")


def done(*steps, **details):
    known = DETAILS | details
    return [
        Record(step, STARTED, ENDED, "done", f"{step} did it", "", known.get(step, {}))
        for step in steps
    ]


def told(*records):
    report = conclude("run-1", "fuel", "manual", records)
    return report.outcome, int(report.exit_code), report.why


def page(records, figures=None):
    return conclude("run-1", "fuel", "manual", records).to_html(figures or {}).decode()


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    VOID = frozenset({"meta", "img", "br", "link", "rect"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action"}]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


NOTHING_NEW = {**DETAILS["checkout"], "new": False}
REFUSED = Record(
    *("stage", STARTED, ENDED, "failed"), error="It is refused.", details={"exit_code": 4}
)


@pytest.mark.parametrize(
    ("steps", "outcome", "exit_code", "why"),
    [
        (done(*RELEASED), "released", 0, "promote did it"),
        (done("checkout", checkout=NOTHING_NEW), "nothing new", 0, "checkout did it"),
        (
            done(*TRAINED, "reject", gate=FAILED_GATE),
            *("rejected", 3, "mae_mpg is nan; r2 is 0.5"),
        ),
        (done(*RELEASED[:-1], "roll-back"), "rolled back", 4, "roll-back did it"),
        ([*done(*RELEASED[:-3]), REFUSED], "rolled back", 4, "stage: It is refused."),
        (
            [*done("checkout"), Record("prepare", STARTED, ENDED, "failed", error="Bad. Fix it.")],
            *("failed", 1, "prepare: Bad. Fix it."),
        ),
        (
            [Record("prepare", STARTED, ENDED, "failed")],
            *("failed", 1, "prepare: it gave no reason"),
        ),
        (
            [*done("checkout"), Record("train", STARTED)],
            *("failed", 1, "The run was stopped during train. Run again."),
        ),
        (done(*TRAINED), "failed", 1, "The run was stopped after gate. Run again."),
        ([], "failed", 1, "The run was stopped after its start. Run again."),
    ],
)
def test_an_outcome_has_an_exit_code_and_a_reason(steps, outcome, exit_code, why):
    assert told(*steps) == (outcome, exit_code, why)


def test_the_report_step_does_not_speak_of_itself():
    running = Record("report", STARTED)

    report = conclude("run-1", "fuel", "manual", [*done(*RELEASED), running])

    assert report.outcome == "released"
    assert [record.step for record in report.records] == list(RELEASED)


def test_json_is_strict_stable_and_complete():
    records = [*done(*TRAINED, "reject", gate=FAILED_GATE), Record("report", STARTED)]

    written = conclude("run-1", "fuel", "data", records).to_json()

    assert written == conclude("run-1", "fuel", "data", records).to_json()
    found = json.loads(written, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert list(found) == [
        "format",
        "run",
        "model",
        "trigger",
        "outcome",
        "exit_code",
        "why",
        "steps",
    ]
    assert (found["format"], found["outcome"], found["exit_code"]) == (1, "rejected", 3)
    assert [step["step"] for step in found["steps"]] == [*TRAINED, "reject"]
    assert found["steps"][0]["seconds"] == 1.5
    assert found["steps"][4]["details"]["checks"][1]["value"] is None


def test_the_page_shows_steps_checks_candidates_hold_out_and_figures():
    text = page(done(*RELEASED, gate=FAILED_GATE), {"actual-against-predicted": PNG})

    found = Page(text).text
    for step in RELEASED:
        assert f"{step} did it" in found
    assert "fuel: released" in found
    assert "fuel-v1" in found
    assert "4f0c4f0c4f0c" in found
    assert "at least 0.84" in found
    assert "0.875" in found
    assert re.search(r"mae_mpg failed not a number mpg at most 2.6 mpg mean absolute error", found)
    assert "polynomial 0.851 ridge chosen 0.892" in found
    assert "origin=usa" in found
    assert 'alt="actual against predicted"' in text


def test_the_page_shows_what_changed_since_the_champion():
    changes = [
        {"name": "commit", "champion": "4f0c4f0c4f0c", "candidate": "abcdabcdabcd"},
        {"name": "hold-out r2", "champion": 0.8612, "candidate": math.nan},
    ]

    text = page(done(*RELEASED, gate=DETAILS["gate"] | {"changes": changes}))

    found = Page(text).text
    assert "Changed since the champion What Champion This run commit 4f0c4f0c4f0c abc" in found
    assert "hold-out r2 0.8612 not a number" in found
    assert "Changed since" not in Page(page(done(*RELEASED))).text


def test_the_page_loads_nothing_from_elsewhere():
    text = page(done(*RELEASED), {"residuals": PNG})
    found = Page(text)

    assert [address.partition(",")[0] for address in found.addresses] == ["data:image/png;base64"]
    assert not {"script", "link", "iframe", "object", "form"} & set(found.tags)
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    "word", ["<script>alert(1)</script>", '" onload="x', "</style><b>", "&amp;"]
)
def test_what_steps_say_is_text_and_never_markup(word):
    failed = Record("prepare", STARTED, ENDED, "failed", word, word)
    checks = [{**CHECKS[0], "name": word, "description": word, "unit": word}]
    records = done(*TRAINED, gate={"passed": False, "reasons": [word], "checks": checks})
    report = conclude(word, word, word, [*records, failed])

    found = Page(report.to_html({word: PNG}).decode())

    assert found.text.count(" ".join(word.split())) >= 6
    assert not {"script", "b"} & set(found.tags)


@given(
    st.lists(st.sampled_from(STEPS), unique=True),
    st.lists(st.sampled_from(["running", "done", "failed"]), min_size=14, max_size=14),
    st.text(max_size=20),
)
def test_whatever_the_records_there_is_a_report_with_a_page(steps, states, words):
    records = [
        Record(
            *(step, STARTED, "" if state == "running" else ENDED, state, words, words),
            details={"exit_code": 1} if state == "failed" else {},
        )
        for step, state in zip(sorted(steps, key=STEPS.index), states, strict=False)
    ]

    report = conclude("run-1", "fuel", "manual", records)

    assert report.outcome in EXIT_CODES
    assert report.why or report.outcome != "failed"
    assert Page(report.to_html({}).decode()).text.startswith("fuel:")
    assert [step["summary"] for step in json.loads(report.to_json())["steps"]] == [
        words for record in records if record.step != "report"
    ]


METRICS = [
    {"name": "error_rate", "value": 0.12, "limit": 0.01, "conclusive": True, "passed": False},
    {"name": "p99_ms", "value": 3.5, "limit": 54.0, "conclusive": False, "passed": True},
    {"name": "psi", "value": 0.02, "limit": 0.31, "conclusive": True, "passed": True},
    {"name": "difference", "value": None, "limit": 0.25, "conclusive": True, "passed": False},
]


def rolled_out(*stages, problem=""):
    rollout = {
        "model": "fuel",
        "version": 4,
        "champion": 3,
        "strategy": "canary",
        "by_hand": "",
        "problem": problem,
        "stages": stages,
    }
    return {"rollout": rollout, "good": not problem, "tolerance": 1e-5}


def stage(weight, problem="", **more):
    told = {
        "weight": weight,
        "seconds": 1.5,
        "requests": 10 * weight,
        "champion_requests": 1000 - 10 * weight,
        "rows": 90,
        "golden": 3e-15,
        "champion_p99_ms": 2.0,
        "metrics": METRICS,
        "problem": problem,
    }
    return told | more


FORMER = {"weight": "share", "metrics": "figures", "conclusive": "analysis"}


def formerly(told):
    """What the release before wrote: the same with other names."""
    text = json.dumps(told)
    for now, before in FORMER.items():
        text = text.replace(f'"{now}"', f'"{before}"')
    return json.loads(text)


@pytest.mark.parametrize("written", [dict, formerly], ids=["now", "by the release before"])
def test_the_page_shows_each_stage_of_a_rollout_with_its_bounds(written):
    bad = "it failed 12 of 100 requests"
    quiet = stage(0, metrics=[], rows=0, requests=0, champion_requests=0)
    details = written(rolled_out(quiet, stage(10, bad), problem=bad))

    found = Page(page(done(*RELEASED[:-1], "roll-back", canary=details))).text

    assert "Rollout: rolled back Version 4 deployed beside version 3, canary." in found
    assert found.count(bad) == 1
    assert "0 % no live request 3.00e-15 ≤ 1.00e-05" in found
    assert "10 % failed 100 of 1000" in found
    assert "12 % ≤ 1 %" in found
    assert "3.5 ms ≤ 54 ms, inconclusive" in found
    assert "0.02 ≤ 0.31" in found
    assert "not a number ≤ 25 %" in found


def test_a_rollout_that_passed_says_so_and_a_first_release_has_none():
    details = rolled_out(stage(0, metrics=[]), stage(100, metrics=[], golden=None))
    good = Page(page(done(*RELEASED, canary=details))).text
    first = Page(page(done(*RELEASED, canary=rolled_out()))).text

    assert "Rollout: passed every stage" in good
    assert "Rollout" not in first


def test_a_clock_that_was_set_back_gives_no_negative_bar():
    back = Record("checkout", ENDED, STARTED, "done", "", "", DETAILS["checkout"])

    text = page([back, *done("prepare")])

    assert 'width="-' not in text
    assert Page(text).text.count("0.00") == 1


def test_a_model_without_slices_has_a_page():
    evaluation = {**DETAILS["evaluate"], "slices": {}}

    assert "0.875" in Page(page(done(*TRAINED, evaluate=evaluation))).text


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_the_page_is_readable_wide_and_narrow_light_and_dark(requires, tmp_path, scheme, width):
    program = requires.program("chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    failed = Record("reject", STARTED, ENDED, "failed", error="x" * 300)
    file = tmp_path / "report.html"
    file.write_text(page([*done(*TRAINED, gate=FAILED_GATE), failed]))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        shown = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        asked = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(file.as_uri())
        across = shown.evaluate("document.documentElement.scrollWidth")
        contrasts = shown.evaluate(_CONTRASTS)
        browser.close()

    assert across <= width
    assert asked == [file.as_uri()]
    assert len(contrasts) > 20
    assert min(contrasts) >= 4.5


_CONTRASTS = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const speaks = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll('main *')].filter(speaks).map((element) => {
    const pair = [light(parse(getComputedStyle(element).color)), light(back(element))];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  });
}"""
