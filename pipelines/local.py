"""Runs a compiled pipeline on this machine, each step a process of this interpreter.

It is a program of its own, so that what KFP prints goes to the log of the run and a run can be
stopped as a whole: it ends, with its steps, when its standard input closes.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from kfp import components, local

from roadworthy.parent import end_with_parent


def main() -> None:
    """Run the pipeline that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the compiled pipeline")
    parser.add_argument("root", type=Path, help="the directory of the steps' artifacts")
    parser.add_argument("arguments", type=json.loads, help="the pipeline's arguments as JSON")
    options = parser.parse_args()
    end_with_parent(group=True)
    # KFP puts the interpreter's path into a shell's line unquoted, where a space would end it.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    sys.executable = "python3"
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(options.root),
        raise_on_error=True,
    )
    components.load_component_from_file(str(options.package))(**options.arguments)


if __name__ == "__main__":
    main()
