"""What the gate would say: which version it compares with, what the report says, what it leaves."""

import dataclasses
import itertools
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from roadworthy.cli import main
from roadworthy.cli import preview as preview_command
from roadworthy.core.errors import ExitCode, RoadworthyError
from roadworthy.core.settings import Settings
from roadworthy.data import git
from roadworthy.data.validation import DataError
from roadworthy.data.workplace import settings_here
from roadworthy.models import contract, fuel
from roadworthy.review import preview
from roadworthy.review.preview import Preview, PreviewError
from roadworthy.tracking.registry import Registry

WHO = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.fixture
def only_the_simplest(monkeypatch):
    monkeypatch.setattr(fuel, "candidates", fuel.candidates[:1])


def previewed(settings: Settings, root: Path) -> Preview:
    return preview.preview(settings, root, "fuel")


@pytest.fixture(scope="module")
def better(released, root) -> Preview:
    """The clone's candidate, against version 1."""
    return previewed(released.settings, root)


@pytest.fixture(scope="module")
def tables(better) -> dict[str, list[list[str]]]:
    return tables_of(better.to_markdown())


def tables_of(markdown: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table of a page by the heading above it, as a reader sees them."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    tokens = MARKDOWN.parse(markdown)
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            heading = token.content
        if before.type == "html_block":
            heading = before.content
        if before.type == "tr_open":
            found.setdefault(heading, []).append([])
        if before.type in ("td_open", "th_open"):
            shown = "".join(child.content for child in token.children)
            found[heading][-1].append(shown)
    return found


def test_it_is_compared_with_the_registrys_champion(better, packed):
    assert better.opponent.tag == "fuel-v1"
    assert better.opponent.found == "the champion of the registry"
    assert better.verdict.passed
    assert better.verdict.note == "compared with version 1"
    changes = {change.name: change for change in better.verdict.changes}
    assert changes["candidate"].candidate == packed.manifest.candidate
    assert changes["hold-out r2"].champion == better.opponent.scores.metrics["r2"]
    assert "data" not in changes
    assert better.exit_code == ExitCode.DONE
    assert better.notes == ()
    assert "The rows are the same." in better.to_markdown()
    # and it is what the pipeline would make
    assert better.name == packed.manifest.candidate
    assert better.counts.train + better.counts.test == better.rows == 398


def test_both_are_scored_on_the_same_hold_out(better, packed, simple, halves):
    from roadworthy.bundles.scoring import Scorer
    from roadworthy.steps.gate import score

    for made, found in ((packed, better.scores), (simple, better.opponent.scores)):
        expected = fuel.score(score(Scorer(made.graph), halves.test), halves.test)
        assert found.metrics == pytest.approx(expected.metrics)
        assert set(found.slices) == set(expected.slices)
    assert better.scores.metrics["r2"] > better.opponent.scores.metrics["r2"]


def test_every_metric_stands_beside_the_champions(better, tables):
    rows = tables["Metrics, on the same 84 rows that were held out"]
    assert rows[0] == ["slice", "metric", "candidate", "fuel-v1", "difference"]
    found = {(part, name): values for part, name, *values in rows[1:]}
    assert {name for part, name in found if part == "all rows"} == set(better.scores.metrics)
    slices = {part for part, name in found if name == fuel.criteria.error} - {"all rows"}
    assert slices == set(better.scores.slices)
    candidate, champion, difference = found["all rows", "r2"]
    ours, theirs = (of.metrics["r2"] for of in (better.scores, better.opponent.scores))
    assert (float(candidate), float(champion)) == pytest.approx((ours, theirs), rel=1e-3)
    assert float(difference) == pytest.approx(ours - theirs, rel=1e-3)
    assert difference.startswith("+")


def test_every_candidate_is_shown_with_what_cross_validation_found(better, tables):
    heading, *rows = tables["Candidates, by cross-validation"]
    assert heading[:3] == ["candidate", "parameters", "cv_r2"]
    names = [candidate.name for candidate in fuel.candidates]
    assert [row[0].removesuffix(" (chosen)") for row in rows] == names
    assert [row[0].removesuffix(" (chosen)") for row in rows if "chosen" in row[0]] == [better.name]
    assert rows[1][1] == "degree=2, alpha=10.0"


def test_every_check_of_the_gate_is_shown_with_its_bound(better, tables):
    rows = {row[0].partition(":")[0]: row[1:] for row in tables["Checks of the gate"]}
    assert set(rows) == {"check", *(check.name for check in better.verdict.checks)}
    assert set(better.behaviour) < set(rows)
    bound = next(of for of in fuel.criteria.hold_out if of.name == "r2")
    assert rows["r2"][1:] == [f"at least {bound.limit:g}", "yes"]


def test_it_records_and_pushes_nothing(better, released):
    assert set(git.tags(released.settings.git_remote)) == {f"fuel-v{n}" for n in range(1, 7)}
    assert [version.number for version in released.registry.versions("fuel")] == [6, 5, 4, 3, 2, 1]
    assert not released.home.exists()


def test_without_a_release_there_is_nothing_to_compare_with(
    only_the_simplest, settings, root, seed, tmp_path
):
    # given a home in which nothing has run yet
    home = tmp_path / "nothing"
    first = previewed(Settings(home=home, dvc_remote_url=str(seed / "dvc")), root)
    # then the candidate alone is previewed, and refused for what it lacks
    assert (first.opponent, first.difference) == (None, None)
    assert first.exit_code == ExitCode.GATE
    assert not home.exists()
    page = first.to_markdown()
    assert "There is no release yet" in page
    for reason in first.verdict.reasons:
        assert reason in shown(page)
    rows = tables_of(page)["Metrics, on the same 84 rows that were held out"]
    assert rows[0] == ["slice", "metric", "candidate"]
    assert {len(row) for row in rows} == {3}


def shown(markdown: str) -> str:
    """Return the text that a reader sees."""
    return " ".join(
        child.content for token in MARKDOWN.parse(markdown) for child in token.children or ()
    )


def test_without_a_registry_it_is_the_latest_release(only_the_simplest, released, root):
    # given that nobody listens where the registry should be
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
        settings = released.settings.model_copy(update={"mlflow_tracking_uri": gone})
        worse = previewed(settings, root)

    assert worse.opponent.tag == "fuel-v6"
    assert worse.opponent.found == "the latest release of the Git remote"
    assert "does not answer" in worse.notes[0]
    assert shown(worse.to_markdown()).count("The champion is unknown.") == 1
    # and the champion's own figures are asked for
    assert worse.exit_code == ExitCode.GATE
    assert any(reason.startswith("r2_with_margin") for reason in worse.verdict.reasons)
    # and rows that came and went are counted
    page = worse.to_markdown()
    assert (worse.difference.added, worse.difference.removed) == (4, 1)
    assert "Compared with fuel-v6: 4 rows are new and 1 are removed." in page
    told = tables_of(page)["Candidate of fuel: refused by the gate"]
    assert [row[0] for row in told] == ["", "candidate", "commit", "data"]
    assert told[3][1:] == [worse.data_hash[:12], worse.opponent.data_hash[:12]]
    assert told[3][1] != told[3][2]


def test_the_code_of_another_clone_is_not_called_this_ones(settings, tmp_path):
    for arguments in (
        ("init", "--quiet"),
        (*WHO, "commit", "--quiet", "--allow-empty", "--message=One"),
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    with pytest.raises(PreviewError, match=r"not that of the clone .* run `make "):
        previewed(settings, tmp_path)


def test_a_model_that_is_not_there_is_told(settings, root):
    with pytest.raises(PreviewError, match="no model 'boats'"):
        preview.preview(settings, root, "boats")


@given(st.text())
@example("_so_")
@example("a __so__ b")
def test_any_text_stands_in_a_cell_as_it_is(text):
    page = f"| a | b |\n| --- | --- |\n| {preview.escaped(text)} | x |\n"
    rows = tables_of(page)[""]
    assert [len(row) for row in rows] == [2, 2]
    assert rows[1][1] == "x"
    assert "<" not in re.sub(r"</?(table|thead|tbody|tr|th|td)\b[^>]*>", "", MARKDOWN.render(page))


class Command:
    """The command, with what it previews put in its place."""

    def __init__(self, monkeypatch, root: Path, found: dict) -> None:
        def made(settings, directory, model, **_):
            if isinstance(found[model], Exception):
                raise found[model]
            return found[model]

        monkeypatch.chdir(root)
        monkeypatch.setattr(preview, "preview", made)
        monkeypatch.setattr(contract, "available", lambda: sorted(found))
        self.app = typer.Typer()
        self.app.callback()(lambda: None)
        preview_command.mount(self.app)

    def __call__(self, *arguments):
        return CliRunner().invoke(self.app, ["preview", *map(str, arguments)])


def test_the_command_prints_and_writes_the_report(better, monkeypatch, root, tmp_path):
    command = Command(monkeypatch, root, {"fuel": better})

    done = command("--markdown", tmp_path / "deep" / "candidate.md")  # every model there is

    assert done.exit_code == ExitCode.DONE
    assert done.stdout == better.to_markdown()
    assert (tmp_path / "deep" / "candidate.md").read_text() == better.to_markdown()
    told = json.loads(command("fuel", "--json").stdout)
    assert [of["model"] for of in told] == ["fuel"]
    assert told[0]["verdict"]["passed"] is True
    assert told[0]["opponent"]["scores"]["metrics"]["r2"] == better.opponent.scores.metrics["r2"]


def test_the_command_ends_with_the_gates_refusal(better, monkeypatch, root):
    check = better.verdict.checks[0]
    refused = dataclasses.replace(
        better,
        verdict=dataclasses.replace(
            better.verdict, checks=(dataclasses.replace(check, value=float("nan")),)
        ),
    )
    done = Command(monkeypatch, root, {"fuel": refused, "boats": better})("fuel", "boats")

    assert done.exit_code == ExitCode.GATE
    assert "Candidate of fuel: refused by the gate" in done.stdout
    assert "It failed 1 of 1 checks" in done.stdout
    assert "Candidate of boats" not in done.stdout
    assert done.stdout.count("## Candidate of fuel: passed the gate") == 1
    json.loads(Command(monkeypatch, root, {"fuel": refused})("fuel", "--json").stdout)


def test_what_cannot_be_previewed_is_in_the_report(better, monkeypatch, root, tmp_path):
    problem = DataError("The data violates its schema: column <b>|mpg is missing. Fix it.")
    command = Command(monkeypatch, root, {"fuel": better, "boats": problem})

    done = command("boats", "fuel", "--markdown", tmp_path / "candidate.md")

    assert done.exit_code == ExitCode.FAILED
    page = (tmp_path / "candidate.md").read_text()
    assert "## Candidate of boats: no preview" in page
    assert "column <b>|mpg is missing" in shown(page)
    assert "Candidate of fuel: passed the gate" in page
    assert str(done.exception) == str(problem)


def test_a_place_that_cannot_be_written_is_told(better, monkeypatch, root):
    done = Command(monkeypatch, root, {"fuel": better})("--markdown", root / "README.md" / "x.md")
    assert isinstance(done.exception, RoadworthyError)
    assert "--markdown" in str(done.exception)


def test_an_experiment_is_logged_with_its_parameters_and_registers_nothing(
    empty_registry, seed, root, tmp_path, monkeypatch
):
    shutil.copytree(empty_registry, tmp_path / "home" / "mlflow")
    for name, value in {"HOME": tmp_path / "home", "DVC_REMOTE_URL": seed / "dvc"}.items():
        monkeypatch.setenv(f"ROADWORTHY_{name}", str(value))
    monkeypatch.chdir(root)
    only = ("--candidate", "polynomial", "--set", "polynomial.degree=1")

    done = CliRunner().invoke(main.app, ["run", "fuel", "--experiment", *only])

    assert done.exit_code == 0, done.output
    assert "polynomial (chosen)" in done.stdout
    assert "polynomial, 1 of 1: cv_r2" in done.stderr
    registry = Registry.of(settings_here(root))
    assert registry.models() == []
    client = MlflowClient(f"sqlite:///{tmp_path}/home/mlflow/mlflow.db")
    kept = client.get_experiment_by_name("fuel-experiments").experiment_id
    (run,) = client.search_runs([kept])
    assert run.data.params == {"degree": "1"}
    assert {"cv_r2", "r2"} <= set(run.data.metrics)
    assert run.data.tags["gate"] == "failed"
    assert "preview.md" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_the_former_name_of_the_command_is_an_alias_with_a_warning(better, monkeypatch, root):
    command = Command(monkeypatch, root, {"fuel": better})
    done = CliRunner().invoke(command.app, ["examine", "fuel"])
    assert done.exit_code == ExitCode.DONE
    assert done.stdout == better.to_markdown()
    assert "deprecated: use `roadworthy preview`" in done.stderr
