"""What a table holds: which columns are learnt from, as what, and which tables are refused."""

import csv
import io
import random
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.scaffolding.table import Roles, TableError, determined_by, read_columns, roomy
from tests.scaffolding.boats import HULLS, below, boats

finite = st.integers(-(10**12), 10**12).map(lambda number: number / 1000)


def frame(lines):
    return pd.read_csv(
        io.StringIO("\n".join(lines)), dtype=str, keep_default_na=False, na_values=[""]
    )


def table(lines, target="length_m", task=None, **roles):
    return read_columns(frame(lines), target, task, Roles(**roles))


def added(name, value, lines=None):
    """The lines with one more column, made from the number of the row."""
    first, *rest = lines or boats()
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow([name, *first.split(",")])
    writer.writerows([value(number), *line.split(",")] for number, line in enumerate(rest))
    return made.getvalue().splitlines()


def column(found, name):
    return next(of for of in found.columns if of.name == name)


def test_each_column_has_a_kind_and_what_was_found():
    found = table(boats())

    assert {of.name: of.kind for of in found.columns} == {
        **dict.fromkeys(("beam_m", "draught_m", "berths", "length_m"), "number"),
        "hull": "string",
        "sailing": "boolean",
        "built": "date",
        **dict.fromkeys(("id", "boat"), "unused"),
    }
    assert column(found, "hull").choices == HULLS
    assert [of.name for of in found.columns if of.whole] == ["berths"]
    missing = [of.name for of in found.columns if of.missing]
    assert missing == ["draught_m", "hull", "berths", "length_m"]
    assert found.required == ("beam_m", "sailing", "built")
    assert (found.identifier, found.key) == ("id", ("id",))
    assert found.example["sailing"] in (True, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.example["built"])


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("customer_id", lambda n: f"{(n * 7919) % 1000:04}-x", ("customer_id",)),
        ("row", lambda n: n, ("row",)),
        ("ticket", lambda n: f"T{n:05}", ("ticket",)),
        ("size", lambda n: n * 3, ()),
        ("id", lambda n: n * 0.001, ()),
        ("id", lambda n: n // 2, ()),
    ],
)
def test_a_column_that_is_named_so_or_numbers_the_rows_is_their_key(name, value, key):
    found = table(added(name, value, boats(without="id")))

    assert found.key == key


def test_an_identifier_that_repeats_is_no_key():
    lines = added("owner", lambda n: f"owner {n // 3}", boats(without="id"))

    found = table(lines, identifier="owner")

    assert (found.identifier, found.key) == ("owner", ())
    assert column(found, "owner").kind == "unused"


def test_what_the_user_leaves_out_is_not_learnt_from_whatever_it_holds():
    lines = added("Price", lambda _: "1,500 EUR")

    found = table(lines, ignore=["Price", "berths"], text=["hull"])

    assert {of.name: of.reason for of in found.columns if of.reason} == {
        "price": "--ignore",
        "berths": "--ignore",
        "hull": "--text",
        "id": "it identifies rows",
        "boat": "it has 78 different strings",
    }


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (lambda n: f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}", "%Y-%m-%d"),
        (lambda n: f"2024-{n % 12 + 1:02}-{n % 28 + 1:02} 10:{n % 60:02}:00", "%Y-%m-%d"),
        (lambda n: f"{n % 12 + 1}/{n % 28 + 1}/2024", "%m/%d/%Y"),
        (lambda n: f"{n % 28 + 1}/{n % 12 + 1}/2024", "%d/%m/%Y"),
        (lambda n: f"{n % 28 + 1}.{n % 12 + 1}.2024" if n else "NA", "%d.%m.%Y"),
        (lambda n: f"Mar {n % 28 + 1}, 2024", "%b %d, %Y"),
        (lambda n: f"2024{n % 12 + 1:02}{n % 28 + 1:02}", "%Y%m%d"),
    ],
)
def test_dates_have_a_format(value, form):
    found = table(added("date", value))

    assert found.dates["date"] == form


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda n: ("TRUE", "FALSE", "NA")[n % 3], "boolean"),
        (lambda n: "yN"[n % 2], "boolean"),
        (lambda n: ("yes", "no", "maybe")[n % 3], "string"),
        (lambda n: ("yes", "false")[n % 2], "string"),
        (lambda n: ("None", "Driver")[n % 2], "string"),
        (lambda n: f"0150{n % 7}", "string"),
        (lambda n: ("A/5", "1000", "2000", "3000")[n % 4], "string"),
        (lambda n: "NA" if n == 3 else n * n, "number"),
        (lambda _: "", "unused"),
        (lambda _: "glass", "unused"),
        (lambda n: "a" * (30 + n % 20), "unused"),
    ],
)
def test_what_a_column_holds_decides_on_its_kind(value, kind):
    found = table(added("extra", value))

    assert column(found, "extra").kind == kind


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        ("Length (cm)", "length_cm", "cm"),
        ("Größe [kW]", "groe_kw", "kW"),
        ("weight_kg", "weight_kg", "kg"),
        ("share_percent", "share_percent", "%"),
        ("vitamin_c", "vitamin_c", "1"),
        ("first_name", "first_name", "1"),
        ("class", "column_class", "1"),
        ("copy", "column_copy", "1"),
        ("🚤", "column", "1"),
        ("Beam m", "beam_m_2", "1"),
    ],
)
def test_a_header_gives_a_name_for_the_code_and_a_unit_that_is_known(header, name, unit):
    found = table(added(header, lambda n: n * n))

    assert column(found, name).unit == unit
    assert found.headers.get(header, header) == name


@pytest.mark.parametrize(
    ("target", "asked", "task", "reason"),
    [
        ("length_m", None, "regression", "length_m holds numbers"),
        ("hull", None, "classification", "hull holds strings, 3 different ones"),
        ("sailing", None, "classification", "sailing holds strings, 2 different ones"),
        ("steps", None, "classification", "steps holds only 3 different whole numbers"),
        ("steps", "regression", "regression", "as --task says"),
        ("steps", "classification", "classification", "as --task says"),
    ],
)
def test_the_target_decides_on_the_task_unless_told(target, asked, task, reason):
    found = table(added("steps", lambda n: n % 3), target, asked)

    assert found.chosen == (task, reason)
    if task == "classification":
        assert list(found.probabilities.values()) == list(found.answer.choices)
        assert all(re.fullmatch("probability_[a-z0-9_]+", name) for name in found.probabilities)


@pytest.mark.parametrize(
    ("target", "names"),
    [("length", ("beam", "berths")), ("mass", ()), ("hull", ("paint",)), ("flag", ())],
)
def test_columns_that_give_the_target_away_are_named(target, names):
    # given a length that is a sum of two columns, a paint for each hull, and two columns by chance
    chance = random.Random(0)
    lines = ["beam,berths,length,mass,hull,paint,flag"]
    for number in range(90):
        beam, berths, kind = number / 8, chance.randint(1, 40), number % 3
        told = (beam, berths, 3 * beam + berths, chance.random(), HULLS[kind], f"paint {kind}")
        lines.append(",".join(map(str, (*told, chance.choice(HULLS)))))
    held = frame(lines)
    held = held if target == "length" else held.drop(columns="length")

    assert determined_by(held, read_columns(held, target)) == names


@given(ends=st.tuples(finite, finite).map(sorted))
def test_a_range_has_room_for_values_to_come_and_keeps_its_sign(ends):
    lowest, highest = ends
    span = highest - lowest or abs(highest) or 1

    low, high = roomy(lowest, highest)

    assert lowest - 0.5 * span <= low <= lowest
    assert highest <= high <= highest + 0.5 * span
    assert lowest < 0 or low >= 0
    assert highest > 0 or high <= 0
    assert (high - low >= 1.25 * (highest - lowest)) or (low, high).count(0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:50], "There are 48 rows with a length_m"),
        (lambda lines: [line.replace("length_m", "mass_kg") for line in lines], "no column 'leng"),
        (lambda lines: below(lines, "[^,]*$", "long", row=7), "a string among numbers: 'long'"),
        (lambda lines: below(lines, "[^,]*$", "inf", row=7), "not finite: 'inf' in line 8"),
        (lambda lines: below(lines, "[^,]*$", "1e300", row=7), "too large a number: '1e300' in li"),
        (
            lambda lines: below(lines, r"\.(\d\d),", r".\1%,"),
            "beam_m holds numbers with separators",
        ),
        (lambda lines: below(lines, r",(\d\.\d\d),", r",EUR \1,"), "write plain numbers with a de"),
        (lambda lines: below(lines, "[^,]*$", "9"), "length_m is 9 in every row"),
        (lambda lines: [line.split(",")[-1] for line in lines], "no column beside length_m"),
        (
            lambda lines: added("date", lambda n: f"0{n % 9 + 1}/0{n % 8 + 1}/2024", lines),
            "could be either, '01/01/2024' in line 2: write them as 2024-03-15",
        ),
        (
            lambda lines: added("date", lambda n: f"2024-03-{n % 28 + 1}" if n else "soon", lines),
            "date holds a string among dates: 'soon' in line 2",
        ),
    ],
)
def test_a_table_without_a_model_is_refused_in_a_sentence(change, told):
    with pytest.raises(TableError) as caught:
        table(change(boats()))

    sentence = str(caught.value)
    assert told in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("hull", {"task": "regression"}, "holds a string among numbers: 'wood'|'steel'|'glass'"),
        ("length_m", {"task": "classification"}, r"length_m has \d+ different values, and a class"),
        ("built", {}, "built holds dates, which no model predicts"),
        ("steps", {"task": "classification"}, "The class '9' of steps has 1 rows, and each needs"),
        ("hull", {"ignore": ["hull"]}, "hull is to be predicted: do not name it with --ignore"),
        ("hull", {"text": ["name"]}, "no column 'name' of text: name one of steps, id, built"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(target, options, told):
    with pytest.raises(TableError, match=told):
        table(added("steps", lambda n: n % 3 if n else 9), target, **options)
