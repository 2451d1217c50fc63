"""A process that ends with its parent, each in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENDS = "from roadworthy.core.parent_process import end_with_parent; import time"


def begin(script: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while lives(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_it_stays_while_the_parent_does_and_ends_when_its_input_ends():
    process = begin(f"{ENDS}; end_with_parent(); print('here', flush=True); time.sleep(600)")
    assert process.stdout.readline() == "here\n"
    process.stdin.write("whatever is written is not the end\n")
    process.stdin.flush()
    assert process.poll() is None

    process.stdin.close()

    assert process.wait(60) == -signal.SIGTERM
    process.stdout.close()


def test_one_that_does_not_leave_is_killed():
    process = begin(
        f"{ENDS}, signal; from roadworthy.core import parent_process; "
        "parent_process._GRACE_SECONDS = 0.1; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); end_with_parent(); time.sleep(600)"
    )

    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGKILL


def test_a_group_ends_as_a_whole():
    started = "import subprocess; p = subprocess.Popen(['sleep', '600'])"
    script = f"{ENDS}; {started}; end_with_parent(group=True); print(p.pid, flush=True)"
    process = begin(f"{script}; time.sleep(600)", process_group=0)
    started_by_it = int(process.stdout.readline())
    assert lives(started_by_it)

    process.stdin.close()

    assert process.wait(60) == -signal.SIGKILL
    wait_until_gone(started_by_it)
    process.stdout.close()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_it_does_not_outlive_a_parent_that_is_killed(sign):
    # given a process that starts one that ends with it
    script = f"{ENDS}; end_with_parent(); print('here', flush=True); time.sleep(600)"
    parent = begin(
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
        "stdin=subprocess.PIPE, stdout=subprocess.PIPE); p.stdout.readline(); "
        "print(p.pid, flush=True); time.sleep(600)".replace("sys.argv[1]", repr(script))
    )
    child = int(parent.stdout.readline())
    assert lives(child)

    # when it is killed
    os.kill(parent.pid, sign)

    # then the other is gone too
    assert parent.wait(60) == -sign
    wait_until_gone(child)
    parent.communicate()
