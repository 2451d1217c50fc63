"""Runs a compiled pipeline on this machine, each step a process of this interpreter.

It is a program of its own, so that what KFP prints goes to the log of the run and a run can be
stopped as a whole: it ends, with its steps, when its standard input closes.
"""

import argparse
import json
import os
import signal
import threading
from pathlib import Path

from kfp import components, local


def main() -> None:
    """Run the pipeline that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the compiled pipeline")
    parser.add_argument("root", type=Path, help="the directory of the steps' artifacts")
    parser.add_argument("arguments", type=json.loads, help="the pipeline's arguments as JSON")
    options = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(options.root),
        raise_on_error=True,
    )
    components.load_component_from_file(str(options.package))(**options.arguments)


def _end_with_parent() -> None:
    """Kill this process group when the parent is gone, however it went."""
    # Not sys.stdin: its lock, held by a thread that waits, is fatal when the interpreter ends.
    while os.read(0, 1024):
        continue
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
