"""A process is seen to live or to be dead, on this machine only."""

import os
import subprocess
import sys

from roadworthy.core import process_id


def test_this_process_lives():
    assert process_id.lives(process_id.here()) is True


def test_a_process_that_ended_is_dead_also_before_anybody_noticed():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    told = process_id.here(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_id.lives(told) is False  # it waits for its parent to ask how it ended
    process.communicate()
    assert process_id.lives(told) is False


def test_another_process_of_the_same_number_is_not_taken_for_it():
    host, pid, start = process_id.here().split(":")
    assert process_id.lives(f"{host}:{pid}:{int(start) - 1}") is False
    assert process_id.lives(f"{host}:{pid}:") is True


def test_of_another_machine_nothing_is_known():
    assert process_id.lives("elsewhere:1:2") is None
    assert process_id.lives("") is None
    assert process_id.lives(process_id.here().partition(":")[0]) is None


def test_a_process_knows_its_age():
    first = process_id.age()
    assert first > 0
    assert process_id.age() >= first
