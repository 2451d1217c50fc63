"""Runs a compiled pipeline on this machine, each step a process of this interpreter or a container.

It is a program of its own, so that what KFP prints goes to the log of the run and a run can be
stopped as a whole: it ends, with its steps, when its standard input closes.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

# As a step imports it: without the client of KFP's API, which imports Kubernetes' own.
os.environ["_KFP_RUNTIME"] = "true"
import kfp  # noqa: F401

del os.environ["_KFP_RUNTIME"]

from kfp import components, local
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines import processes
from roadworthy.core.errors import RoadworthyError
from roadworthy.core.parent_process import end_with_parent
from roadworthy.core.settings import Settings


def main() -> None:
    """Run the pipeline that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the compiled pipeline")
    parser.add_argument("root", type=Path, help="the directory of the steps' artifacts")
    parser.add_argument("arguments", type=json.loads, help="the pipeline's arguments as JSON")
    parser.add_argument(
        "--docker", action="store_true", help="run each step in a container of the image it names"
    )
    options = parser.parse_args()
    settings = Settings()
    try:
        local.init(
            runner=_containers(settings, options.root) if options.docker else _processes(),
            pipeline_root=str(options.root.absolute()),
            raise_on_error=True,
            # A pure step that an earlier run of the commit has finished is not repeated.
            enable_caching=not options.arguments.get("force"),
            cache_root=str(settings.home / "cache"),
        )
        package = components.load_component_from_file(str(options.package))
        _fail_at_once(package.component_spec.implementation.graph)
        package(**options.arguments)
    except RoadworthyError as error:
        sys.exit(str(error))


def _fail_at_once(spec: pipeline_spec_pb2.PipelineSpec) -> None:
    """Remove the retries of all tasks: here a user waits, and can run it again."""
    for group in (spec.root, *spec.components.values()):
        for task in group.dag.tasks.values():
            task.ClearField("retry_policy")


def _processes() -> local.SubprocessRunner:
    end_with_parent(group=True)
    return processes.runner()


def _containers(settings: Settings, root: Path) -> local.DockerRunner:
    from pipelines import containers  # noqa: PLC0415 - Docker's client, which processes go without

    # A container is no child of this process: it is removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    end_with_parent()
    return containers.runner(settings, root.absolute())


if __name__ == "__main__":
    main()
