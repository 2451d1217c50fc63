"""Many rows at once: a file is dropped or chosen, answered row by row, shown and downloaded."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

DROP = """([name, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, {type: "text/csv"}));
    for (const kind of ["dragover", "drop"]) {
        document.dispatchEvent(
            new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }
}"""
DONE = re.compile(r"^[\d,]+ of [\d,]+ rows? answered[,.]")


def choose(visited: Any, content: str | bytes, name: str = "cars.csv") -> None:
    """Choose a file with the button."""
    body = content.encode() if isinstance(content, str) else content
    files = {"name": name, "mimeType": "text/csv", "buffer": body}
    visited.page.set_input_files("#batch-file", files)


def answered(visited: Any, content: str | bytes, name: str = "cars.csv") -> list[list[str]]:
    """Choose a file; return the cells of the rows that are shown once every row is done."""
    choose(visited, content, name)
    visited.page.wait_for_selector("#batch-progress", state="hidden")
    visited.page.locator("#batch-status", has_text=DONE).wait_for()
    return shown(visited)


def shown(visited: Any) -> list[list[str]]:
    return visited.page.eval_on_selector_all(
        "#batch-body tr", "(rows) => rows.map((row) => [...row.cells].map((of) => of.textContent))"
    )


def saved(visited: Any) -> tuple[str, str]:
    """Download the answers; return the name and the text of the file."""
    with visited.page.expect_download() as download:
        visited.page.click("#batch-save")
    file = Path(download.value.path())
    return download.value.suggested_filename, file.read_bytes().decode("utf-8-sig")


def cars(count: int) -> str:
    rows = (f"car {of},{900 + of % 900},{1970 + of % 13}" for of in range(count))
    return "\n".join(["name,weight_kg,year", *rows])


def test_a_dropped_file_is_answered_as_the_service_answers(opened: Any, service: Any) -> None:
    # given a file with words, quotes, an empty cell and a column that is no field
    text = 'name,weight_kg,year,origin\n"small, red",900,1981,japan\nlarge,1900,1972,\n'
    # when it is dropped on the page
    opened.page.evaluate(DROP, ["cars.csv", text])
    opened.page.locator("#batch-status", has_text=DONE).wait_for()
    # then each row has its answer and interval, which are the service's
    rows = shown(opened)
    assert opened.asked == [
        {"weight_kg": 900, "year": 1981, "origin": "japan"},
        {"weight_kg": 1900, "year": 1972},
    ]
    for row, car in zip(rows, opened.asked, strict=True):
        answer = service.answer(car)
        for value, interval, name in ((row[1], row[2], "l_per_100km"), (row[3], row[4], "mpg")):
            # written as exactly as the width of the interval tells
            ends = [*interval.split(" to "), value]
            expected = [answer[f"{name}{end}"] for end in ("_low", "_high", "")]
            assert [float(end) for end in ends] == pytest.approx(expected, rel=0.05)
    assert [row[0] for row in rows] == ["2", "3"]
    assert rows[0][5:] == ["small, red", "900", "1981", "japan"]
    assert opened.text("#batch-status") == "2 of 2 rows answered. By version 3."
    assert opened.text("#batch-notes") == "Not used: name."
    assert opened.problems == []
    assert opened.page.evaluate("window.violations") == []


def test_a_bad_row_is_marked_in_place_and_the_others_are_answered(opened: Any) -> None:
    rows = answered(
        opened,
        "weight_kg,year,origin\n1200,1980,usa\n9999,1980,usa\nheavy,1999,mars\n1500,,\n1500,1975,\n"
        "1,200,1980,usa\n",
    )
    assert rows[1][1] == "weight_kg is out of range: 700 to 2400 kg."
    assert rows[2][1] == (
        "weight_kg is not a number: 700 to 2400 kg. year is out of range: 1970 to 1982. "
        "origin is none of the choices: one of usa, europe, japan."
    )
    assert rows[3][1] == "year is missing: 1970 to 1982."
    assert rows[5][1].startswith("The row has 4 cells, the first line 3")
    assert [bool(re.fullmatch(r"[\d.]+", row[1])) for row in rows] == [
        *(True, False, False, False, True, False)
    ]
    wrong = opened.page.locator("#batch-body td.wrong").all_inner_texts()
    assert wrong == ["9999", "heavy", "1999", "mars", ""]
    assert opened.text("#batch-status").startswith("2 of 6 rows answered, 4 cannot be")
    # and they alone can be looked at
    opened.page.check("#batch-only")
    assert [row[0] for row in shown(opened)] == ["3", "4", "5", "7"]


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (b"\xef\xbb\xbfweight_kg;year\r\n1.234,5;1980\r\n", [(1234.5, 1980)]),
        (b"sep=;\r\nyear;weight_kg\r\n1980;1200,5\r\n", [(1200.5, 1980)]),
        ("weight_kg\tyear\n1200.5\t1980\n".encode("utf-16"), [(1200.5, 1980)]),
        (b'Weight (lb),Model year\n"3,504",1970\n', [(3504 * 0.45359237, 1970)]),
        (b"weight_kg,year\r1200,1980\r\r1300,1981\r", [(1200, 1980), (1300, 1981)]),
        (b'"weight_kg","year"\n\n"1200","1980"\n,,\n', [(1200, 1980)]),
        ("name,weight_kg,year\nCitroën,1200,1980".encode("cp1252"), [(1200, 1980)]),
        (b'weight_kg,year,note\n1200,1980,"two\nlines ""quoted"""\n', [(1200, 1980)]),
        (b"weight_kg,year,horsepower\n1200,1980,?\n1200,1980,NA\n", [(1200, 1980)] * 2),
        (b"weight_kg,year\n1200,1980,,\n", [(1200, 1980)]),
    ],
    ids=["semicolons", "sep", "utf-16", "lb", "cr", "quoted", "cp1252", "lines", "empty", "tail"],
)
def test_a_file_is_read_however_it_was_written(
    opened: Any, content: bytes, asked: list[tuple[float, int]]
) -> None:
    answered(opened, content)
    assert [(of["weight_kg"], of["year"]) for of in opened.asked] == [
        pytest.approx(of) for of in asked
    ]
    assert all(set(of) == {"weight_kg", "year"} for of in opened.asked)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The file is empty."),
        (b"weight_kg,year\n", "There are no rows"),
        (b"name,colour\na,b\n", "There is no column weight_kg and none year."),
        (b"\x89PNG\r\n\x00\x00", "This is no text"),
        (b'weight_kg,year\n"1200,1980\n', "opens on line 2 is never closed"),
        (b"weight_kg,year\n" + b"1200,1980\n" * 20_001, "20,001 rows, more than the 20,000"),
        (b"weight_kg,year\n" + b"1" * 5_000_000, "more than the 5 MB"),
    ],
    ids=["empty", "no-rows", "columns", "binary", "quote", "rows", "bytes"],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(
    opened: Any, content: bytes, told: str
) -> None:
    choose(opened, content)
    opened.page.locator("#batch-error", has_text=told).wait_for()
    assert opened.asked == []
    assert not opened.page.is_visible("#batch-table")
    # and the next file is read all the same
    assert len(answered(opened, "weight_kg,year\n1200,1980\n")) == 1
    assert not opened.page.is_visible("#batch-error")


def test_what_is_downloaded_holds_the_file_and_the_answers(opened: Any, service: Any) -> None:
    answered(opened, 'name,weight_kg,year\n"a, b",1200,1980\n-5,9000,1980\n')
    name, text = saved(opened)
    assert name == "cars-answers.csv"
    first, second = csv.DictReader(io.StringIO(text))
    answer = service.answer({"weight_kg": 1200, "year": 1980})
    assert (first["name"], first["version"], first["problem"]) == ("a, b", "3", "")
    for part, value in answer.items():
        assert float(first[f"predicted_{part}"]) == pytest.approx(value, rel=1e-5)
    assert second["name"] == "-5"
    assert second["predicted_mpg"] == ""
    assert second["problem"] == "weight_kg is out of range: 700 to 2400 kg."
    # and a file with decimal commas is given back with them
    answered(opened, "weight_kg;year\n1200,5;1980\n")
    first = next(csv.DictReader(io.StringIO(saved(opened)[1]), delimiter=";"))
    assert first["weight_kg"] == "1200,5"
    assert re.fullmatch(r"\d+,\d+", first["predicted_l_per_100km"])


def test_the_example_is_made_of_the_cards_examples(opened: Any) -> None:
    with opened.page.expect_download() as download:
        opened.page.click("#batch-example")
    assert download.value.suggested_filename == "fuel-example.csv"
    answered(opened, Path(download.value.path()).read_bytes())
    assert opened.text("#batch-status") == "3 of 3 rows answered. By version 3."
    assert opened.asked[1]["origin"] == "japan"


def test_what_stands_in_a_file_is_neither_run_here_nor_in_a_spreadsheet(opened: Any) -> None:
    bad = ['<img src=x onerror="window.hurt=1">', "=1+2", "@SUM(A1)", "+1+cmd", "-2+3", "\t=1"]
    rows = "\n".join(f'"{of.replace(chr(34), chr(34) * 2)}",1200,1980' for of in bad)
    cells = answered(opened, f"<b>name</b>,weight_kg,year\n{rows}\n", "<i>.csv")
    assert [row[5] for row in cells] == bad
    assert opened.page.locator("#batch img, #batch b, #batch i").count() == 0
    assert opened.page.evaluate("window.hurt") is None
    _, text = saved(opened)
    names = [row["<b>name</b>"] for row in csv.DictReader(io.StringIO(text))]
    assert names == [bad[0], *(f"'{of}" for of in bad[1:])]


def test_five_thousand_rows_are_answered_while_the_page_goes_on(opened: Any) -> None:
    # given a file of which the third part is held back
    page, held = opened.page, []
    page.route(
        "**/*:predict",
        lambda route: (
            held.append(route) if len(opened.asked) == 1500 and not held else route.continue_()
        ),
    )
    choose(opened, cars(5000))
    page.locator("#batch-status", has_text="1,000 of 5,000 rows answered so far").wait_for()
    # then what is there can be looked at, and the form is filled in
    page.click("#batch-after")
    assert shown(opened)[0][0] == "52"
    page.fill("#field-weight_kg", "1444")
    held[0].continue_()
    # and in the end all are answered, of which the page holds no more than can be seen
    page.locator("#batch-status", has_text="5,000 of 5,000 rows answered.").wait_for()
    assert page.input_value("#field-weight_kg") == "1444"
    assert len(shown(opened)) == 50
    assert shown(opened)[0][0] == "52"
    assert len(opened.asked) == 5000
    assert len(list(csv.reader(io.StringIO(saved(opened)[1])))) == 5001


def test_every_row_is_answered_by_a_service_that_takes_fewer_rows(opened: Any) -> None:
    # given something in between that lets through a hundred rows at a time
    def few(route: Any) -> None:
        if len(json.loads(route.request.post_data)["instances"]) > 100:
            route.fulfill(status=413, body='{"error": "Too many."}')
        else:
            route.continue_()

    opened.page.route("**/*:predict", few)
    answered(opened, cars(300))
    assert opened.text("#batch-status").startswith("300 of 300 rows answered.")


def test_a_batch_that_was_stopped_can_be_continued(opened: Any) -> None:
    opened.page.route("**/*:predict", lambda route: route.abort())
    choose(opened, cars(10))
    opened.page.click("#batch-stop")
    opened.page.locator("#batch-status", has_text="Stopped.").wait_for()
    opened.page.unroute("**/*:predict")
    opened.page.click("#batch-again")
    opened.page.locator("#batch-status", has_text="10 of 10 rows answered.").wait_for()
