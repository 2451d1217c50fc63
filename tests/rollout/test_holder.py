"""A process is seen to live or to be dead, on this machine only."""

import os
import subprocess
import sys

from roadworthy.rollout import holder


def test_this_process_lives():
    assert holder.lives(holder.here()) is True


def test_a_process_that_ended_is_dead_also_before_anybody_noticed():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    told = holder.here(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert holder.lives(told) is False  # it waits for its parent to ask how it ended
    process.communicate()
    assert holder.lives(told) is False


def test_another_process_of_the_same_number_is_not_taken_for_it():
    host, pid, start = holder.here().split(":")
    assert holder.lives(f"{host}:{pid}:{int(start) - 1}") is False
    assert holder.lives(f"{host}:{pid}:") is True


def test_of_another_machine_nothing_is_known():
    assert holder.lives("elsewhere:1:2") is None
    assert holder.lives("") is None
    assert holder.lives(holder.here().partition(":")[0]) is None


def test_a_process_knows_its_age():
    first = holder.age()
    assert first > 0
    assert holder.age() >= first
