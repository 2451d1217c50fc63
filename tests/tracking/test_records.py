"""What each step did is recorded, however it ended, and is read whole by anyone."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest

from roadworthy.core.errors import RoadworthyError
from roadworthy.tracking import records
from roadworthy.tracking.records import Record, RecordError, step

RUN = "20250102-030405-abcdef"


@pytest.fixture(params=["directory", "strange directory", "object store"])
def place(request, tmp_path):
    """A directory, or what stands in for an object store."""
    if request.param == "directory":
        return str(tmp_path / "runs")
    if request.param == "strange directory":
        return str(tmp_path / "a b [c]*{d}" / "runs")
    return f"memory://bucket-{uuid.uuid4()}/runs"


def test_a_step_that_ends_well_is_done(place):
    with step(place, RUN, "train") as record:
        record.summary = "5 candidates"
        record.details["r2"] = 0.89

    (read,) = records.read(place, RUN)
    assert (read.step, read.state, read.summary, read.error) == (
        "train",
        "done",
        "5 candidates",
        "",
    )
    assert read.details == {"r2": 0.89}
    assert read.seconds >= 0


def test_while_it_runs_it_is_running(place):
    with step(place, RUN, "train"):
        (read,) = records.read(place, RUN)

        assert (read.state, read.ended) == ("running", "")
        assert math.isnan(read.seconds)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RoadworthyError("The data is bad. Mend it."), "The data is bad. Mend it."),
        (ValueError("no [such] thing"), "ValueError: no [such] thing"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_step_that_raises_is_failed_with_its_sentence(place, error, told):
    def work():
        with step(place, RUN, "train") as record:
            record.summary = "half way"
            raise error

    with pytest.raises(type(error)) as caught:
        work()

    assert caught.value is error
    (read,) = records.read(place, RUN)
    assert (read.state, read.error, read.summary) == ("failed", told, "half way")
    assert read.ended


def test_steps_come_in_the_order_of_the_pipeline(place):
    for name in reversed(records.STEPS):
        with step(place, RUN, name):
            pass

    assert tuple(record.step for record in records.read(place, RUN)) == records.STEPS


def test_an_unknown_run_has_no_records(place):
    assert records.read(place, "unknown") == []
    assert records.figures(place, "unknown") == {}
    assert records.get(place, "unknown", "report.json") is None


def test_metrics_come_back_by_name_and_are_no_records(place):
    figures = {"parity": b"\x89PNG one", "residuals.by.year": b"\x89PNG two"}

    records.attach(place, RUN, figures)

    assert records.figures(place, RUN) == figures
    assert records.read(place, RUN) == []


def test_a_file_is_put_replaced_and_got(place):
    first = records.put(place, RUN, "report.json", b"one")
    again = records.put(place, RUN, "report.json", b"two")

    assert records.get(place, RUN, "report.json") == b"two"
    assert first == again
    assert first.endswith(f"{RUN}/report.json")
    assert first.startswith("memory://") == place.startswith("memory://")


def test_what_another_version_wrote_can_be_read(place):
    raw = {"step": "ship", "started": "2025-01-02T03:04:05+00:00", "colour": "red"}
    records.put(place, RUN, "step.ship.json", json.dumps(raw).encode())
    with step(place, RUN, "report"):
        pass

    assert [record.step for record in records.read(place, RUN)] == ["report", "ship"]
    assert records.read(place, RUN)[1] == Record("ship", "2025-01-02T03:04:05+00:00")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(RecordError, match=r"cannot be written \(.*ROADWORTHY_RECORDS"),
        step(str(tmp_path / "file"), RUN, "train"),
    ):
        pytest.fail("the step must not run unrecorded")


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path):
    # given a process that may write files of four bytes only
    records.put(str(tmp_path), RUN, "report.json", b"old")
    code = """
import resource, signal, sys
from roadworthy.tracking import records
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
try:
    records.put(sys.argv[1], sys.argv[2], "report.json", b"too large")
except records.RecordError as error:
    sys.exit(str(error))
"""

    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, RUN], capture_output=True, text=True, check=False
    )

    assert "report.json cannot be written" in done.stderr
    assert records.get(str(tmp_path), RUN, "report.json") == b"old"


def test_a_reader_never_sees_half_a_record(tmp_path):
    # given a reader that reads all the time
    place = str(tmp_path)
    done, seen, failed = threading.Event(), [], []

    def read_on():
        while not done.is_set():
            try:
                seen.extend(records.read(place, RUN))
            except Exception as error:  # noqa: BLE001
                failed.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()

    # when a large record is written many times, by two at a time
    def write_on():
        for _ in range(40):
            with step(place, RUN, "train") as record:
                record.details["text"] = "x" * 200_000

    writers = [threading.Thread(target=write_on) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()

    # then it was whole each time
    assert failed == []
    assert seen
    assert {len(record.details.get("text", "")) for record in seen} <= {0, 200_000}


def test_a_step_that_is_told_to_end_is_interrupted_and_says_so(place):
    def work():
        with step(place, RUN, "train"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert after == signal.SIG_IGN
    (read,) = records.read(place, RUN)
    assert (read.state, read.error) == ("failed", "KeyboardInterrupt")


def test_in_another_thread_the_signal_is_left_as_it_is(place):
    def work():
        with step(place, RUN, "train"):
            found.append(signal.getsignal(signal.SIGTERM))

    before, found = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [before]
    assert records.read(place, RUN)[0].state == "done"
