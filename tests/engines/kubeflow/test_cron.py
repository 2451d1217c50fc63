"""Times of a schedule are those of crontab; what is none is told before anything is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.engines.kubeflow.cron import CronError, for_kubeflow, for_people


@pytest.mark.parametrize(
    ("times", "sent"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("  */15   8-18 * *   mon-FRI ", "0 */15 8-18 * * mon-FRI"),
        ("0,30 * 1,15 jan-mar/2 *", "0 0,30 * 1,15 jan-mar/2 *"),
        ("30 0 9 ? * 2-6", "30 0 9 ? * 2-6"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("0 0 31 2 mon", "0 0 0 31 2 mon"),
        ("0 0 31 2/3 *", "0 0 0 31 2/3 *"),
        ("0 0 29-31 2 *", "0 0 0 29-31 2 *"),
    ],
)
def test_five_fields_get_their_seconds_and_six_have_them(times, sent):
    assert for_kubeflow(times) == sent


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ("", "has 0 fields"),
        ("3 * * 1", "has 4 fields"),
        ("0 0 3 * * 1 2026", "has 7 fields"),
        ("@daily", "has 1 fields"),
        ("60 3 * * 1", "'60' is nothing for the minutes, which are 0 to 59"),
        ("0 24 * * 1", "'24' is nothing for the hours"),
        ("0 3 0 * 1", "'0' is nothing for the days of the month"),
        ("0 3 * 13 1", "'13' is nothing for the months, which are 1 to 12 or jan to dec"),
        ("0 3 * * 7", "'7' is nothing for the days of the week, which are 0 to 6 or sun to sat"),
        ("0 3 * * fri-mon", "'fri-mon' is nothing for"),
        ("0 3 * * *-2", "is nothing for"),
        ("0 3 * * 1,", "'' is nothing for"),
        ("*/0 3 * * 1", "'\\*/0' is nothing for the minutes"),
        ("0 ٣ * * 1", "is nothing for the hours"),
        ("0; 3 * * 1", "is nothing for"),
        ("60 0 3 * * 1", "'60' is nothing for the seconds"),
        ("0 0 31 2 *", "never comes: no such month has a day 31"),
        ("0 0 30,31 feb ?", "never comes"),
        ("0 0 31 2,4,6,9,11 */2", "never comes"),
        ("0 0 0 31 4 *", "never comes"),
    ],
)
def test_what_is_no_time_is_told_with_its_field(times, told):
    with pytest.raises(CronError, match=told):
        for_kubeflow(times)


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(1, 31),
    st.integers(1, 12),
    st.integers(0, 6),
)
def test_what_was_sent_is_read_as_it_was_written(minute, hour, day, month, weekday):
    times = f"{minute} {hour} {day} {month} {weekday}"

    assert for_people(for_kubeflow(times)) == times
    assert for_people(for_kubeflow(f"7 {times}")) == f"7 {times}"


@given(st.text(alphabet="0123456789*/,-? abc", max_size=30))
def test_any_text_is_sent_in_six_fields_or_refused(text):
    try:
        sent = for_kubeflow(text)
    except CronError:
        return
    assert len(sent.split()) == 6
