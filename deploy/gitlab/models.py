"""Prints the models that a merge concerns, a name a line.

``python deploy/gitlab/models.py TRIGGER BEFORE COMMIT``, in the root of the repository. For the
trigger ``data`` they are those whose ``.dvc`` file changed between the two commits; for every other
one, or where the commit before is not known, all.
"""

import argparse
import sys
from pathlib import Path

from roadworthy.core.subprocesses import CommandError
from roadworthy.data.git import git, has_commit
from roadworthy.models import contract


def concerned(trigger: str, before: str, commit: str) -> list[str]:
    """Return the names of the models that are to be made anew, in alphabetical order."""
    names = contract.available()
    if trigger != "data" or not _is_known(before):
        return names
    changed = git("diff", "--name-only", "-z", before, commit).split("\0")
    return [name for name in names if contract.load(name).data in changed]


def _is_known(commit: str) -> bool:
    # The first push of a branch has no commit before it, GitLab writes noughts; and after a rewrite
    # of the branch the commit may be gone.
    return commit.strip("0") != "" and has_commit(Path(), commit)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trigger")
    parser.add_argument("before")
    parser.add_argument("commit")
    options = parser.parse_args()
    try:
        found = concerned(options.trigger, options.before, options.commit)
    except CommandError:
        sys.exit(
            f"Error: Git cannot tell what changed between {options.before} and {options.commit}: "
            f"name two commits that this clone has."
        )
    sys.stdout.write("".join(f"{name}\n" for name in found))


if __name__ == "__main__":
    main()
