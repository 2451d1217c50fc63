"""A scratch project in a GitLab, as gitlab-ci-local sees one."""

import csv
import io
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

WHO = ("-c", "user.name=Somebody", "-c", "user.email=somebody@localhost")
REMOTE = "https://gitlab.example/group/project.git"
_NOTHING = "0" * 40


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *WHO, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Event:
    """What happened in the project, for which GitLab makes a pipeline."""

    source: str = "push"
    branch: str = "main"
    tag: str = ""
    first: bool = False
    """Whether it is the first push of the branch."""
    variables: dict[str, str] = field(default_factory=dict)

    def options(self, project: Path) -> list[str]:
        """Return it in the words of gitlab-ci-local."""
        known = {
            "CI_PIPELINE_SOURCE": self.source,
            "CI_COMMIT_TITLE": git(project, "log", "-1", "--format=%s"),
            "CI_COMMIT_BEFORE_SHA": _NOTHING
            if self.first
            else git(project, "rev-parse", "refs/remotes/origin/main"),
            "CI_PIPELINE_CREATED_AT": "2031-05-06T07:08:09Z",
        }
        unset = []
        if self.source == "merge_request_event":
            known["CI_MERGE_REQUEST_IID"] = "7"
            known["CI_MERGE_REQUEST_PROJECT_URL"] = REMOTE.removesuffix(".git")
            unset = ["CI_COMMIT_BRANCH"]
        elif self.tag:
            known |= {"CI_COMMIT_TAG": self.tag, "CI_COMMIT_REF_NAME": self.tag}
            unset = ["CI_COMMIT_BRANCH"]
        else:
            known |= {"CI_COMMIT_BRANCH": self.branch, "CI_COMMIT_REF_NAME": self.branch}
        chosen = known | self.variables
        # GitLab looks at what changed in these only; in any other pipeline all is called changed.
        looks = self.source in ("push", "merge_request_event") and not (self.tag or self.first)
        return [
            *(word for name, value in chosen.items() for word in ("--variable", f"{name}={value}")),
            *(word for name in unset for word in ("--unset-variable", name)),
            *([] if looks else ["--evaluate-rule-changes=false"]),
            f"--ignore-predefined-vars={','.join(chosen)}",
        ]


class GitLab:
    """gitlab-ci-local, in a scratch project."""

    def __init__(self, program: str, project: Path, home: Path) -> None:
        self.program, self.project, self.home = program, project, home

    def begin(self) -> None:
        """Make a repository of the project's files, whose commit is the tip of main."""
        git(self.project, "init", "--quiet", "--initial-branch=main")
        git(self.project, "remote", "add", "origin", REMOTE)
        git(self.project, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
        self.commit("Begin")
        self.settle()

    def commit(self, message: str) -> str:
        """Commit everything, whatever is ignored, and return the commit."""
        git(self.project, "add", "--all", "--force", "--", ".", ":!.gitlab-ci-local")
        git(self.project, "commit", "--quiet", "--allow-empty", f"--message={message}")
        return git(self.project, "rev-parse", "HEAD")

    def settle(self) -> None:
        """Call what is committed the state before the next event."""
        git(self.project, "update-ref", "refs/remotes/origin/main", "HEAD")

    def change(self, *paths: str) -> None:
        for path in paths:
            (self.project / path).parent.mkdir(parents=True, exist_ok=True)
            with (self.project / path).open("a") as file:
                file.write("# changed\n")

    def jobs(self, event: Event) -> dict[str, dict[str, str]]:
        """Return the jobs of the event's pipeline by name, each with what is listed of it."""
        # The schema is another test's; to read it takes longer than the rules.
        done = self.call("--list-csv", "--no-json-schema-validation", *event.options(self.project))
        assert done.returncode == 0, done.stdout + done.stderr
        table = done.stdout[done.stdout.index("name;description;") :]
        return {row["name"]: row for row in csv.DictReader(io.StringIO(table), delimiter=";")}

    def run(self, job: str, event: Event) -> subprocess.CompletedProcess[str]:
        """Run one job in a shell, in a directory of its own."""
        alone = ("--force-shell-executor", "--shell-isolation", "--no-json-schema-validation")
        return self.call(job, *alone, *event.options(self.project))

    def build(self, job: str) -> Path:
        """Return the directory that a job runs in."""
        return self.project / ".gitlab-ci-local" / "builds" / job

    def artifact(self, job: str, name: str) -> str:
        return (self.project / ".gitlab-ci-local" / "artifacts" / job / name).read_text()

    def log(self, job: str) -> str:
        return (self.project / ".gitlab-ci-local" / "output" / f"{job}.log").read_text()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run gitlab-ci-local in the project."""
        return subprocess.run(
            [self.program, "--home", str(self.home), "--no-color", *arguments],
            cwd=self.project,
            capture_output=True,
            text=True,
            check=False,
        )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return all that a job said, without colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout + done.stderr)
