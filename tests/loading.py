"""What a program loads, looked at in an interpreter that has loaded nothing yet."""

import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    """Run a program and return the names of the modules that are loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
