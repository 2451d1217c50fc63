"""A program of its own makes the same bundle from the raw data."""

import subprocess
import sys

import pytest

from roadworthy.bundles import bundle
from tests.conftest import COMMIT, DATA_HASH, SAMPLE


@pytest.mark.slow
def test_another_process_in_another_directory_makes_the_same_bundle(packed, tmp_path):
    arguments = ["fuel", SAMPLE, tmp_path / "bundle", COMMIT, DATA_HASH]
    done = subprocess.run(
        [sys.executable, "-m", "roadworthy.training.rebuild", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{packed.digest}\n"
    assert bundle.read(tmp_path / "bundle").manifest == packed.manifest
