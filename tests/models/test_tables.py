"""A CSV file is read as it was meant, or refused with its line and what to do."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.tables import CsvError, read_csv, read_table

REFUSED = {
    "a field more": ("a,b\n1,2\n3,4,5\n", "t.csv, line 3 has 3 fields where the header has 2"),
    "a field more in every row": ("a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields"),
    "names of rows": ("a,b\nrow0,1,2\n", "name every column in the header, also one of row names"),
    "a field less": ("a,b,c\n1,2,3\n4,5\n", "leave a missing value empty between its commas"),
    "a comma at the end": ("a,b\n1,2,\n3,4,\n", "line 2 .* ends in a comma: remove it"),
    "a comma at the end of each line": ("a,b,\n1,2,\n", "column 3 of the header has no name"),
    "semicolons": ("a;b\n1,5;2\n", "separated by semicolons: save it with commas, and with points"),
    "tabs": ("a\tb\n1\t2\n", "separated by tabs"),
    "no header": ("1,2\n3,4\n", "has no header, its first line is 1,2"),
    "nothing": ("", "has no header"),
    "a blank first line": ("\na,b\n1,2\n", "has no header"),
    "one name twice": ("a,b,a\n1,2,3\n", "more than one column a: rename one"),
    "an open quote": ('a,b\n1,"2\n3,4\n', "Close every quote"),
    "a line break within quotes": ('a,b\n1,"x\ny"\n3\n', "line 4 has 1 fields"),
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "t.csv"


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_not_what_it_seems_is_refused(text, told, file):
    file.write_text(text)

    with pytest.raises(CsvError, match=told):
        read_csv(file)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_refused(pack, file):
    file.write_bytes(pack(b"a,b\n1,2\n"))

    with pytest.raises(CsvError, match=r"is compressed \(.+\): decompress it first"):
        read_csv(file)


def test_an_archive_is_refused(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("t.csv", "a,b\n1,2\n")

    with pytest.raises(CsvError, match=r"is compressed \(zip\)"):
        read_csv(file)


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes("a,b\n1,é\n".encode("latin-1"))

    with pytest.raises(CsvError, match="is not in UTF-8"):
        read_csv(file)


def test_a_spelling_of_missing_is_a_string_among_strings_and_missing_among_numbers(file):
    file.write_text("airbags,power\nNone,1.5\nDriver,NA\n,nan\nNA,\n")

    found = read_csv(file)

    assert found["airbags"].tolist()[:2] == ["None", "Driver"]
    assert found["airbags"].isna().tolist() == [False, False, True, False]
    np.testing.assert_array_equal(found["power"], [1.5, np.nan, np.nan, np.nan])


def test_values_of_any_length_and_words_of_truth_are_strings(file):
    file.write_text(f"long,flag\n{'x' * 200_000},True\ny,\nz,False\n")

    found = read_csv(file)

    assert [len(value) for value in found["long"]] == [200_000, 1, 1]
    assert found["flag"].fillna("").tolist() == ["True", "", "False"]


def test_columns_of_strings_keep_what_looks_like_a_number(file):
    file.write_text("code,n\n007,1\nNA,?\n")

    found = read_csv(file, strings=["code"], missing=["?"])

    assert found["code"].tolist() == ["007", "NA"]
    np.testing.assert_array_equal(found["n"], [1, np.nan])


def test_numbers_that_are_written_as_text_stay_what_they_are(file):
    # given values that a schema is to refuse by line, since reading them would be a guess
    file.write_text('a,b,c\n"15,400",15.4%,$3\nNA,2%,$4\n')

    found = read_csv(file)

    assert found.iloc[0].tolist() == ["15,400", "15.4%", "$3"]


def test_a_blank_line_is_a_row_and_a_mark_of_the_order_of_bytes_is_none(file):
    file.write_text("\ufeffa,b\n1,2\n\n3,4\n", encoding="utf-8")

    found = read_csv(file)

    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], [1, np.nan, 3])


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")), st.floats()),
        min_size=1,
    )
)
def test_what_was_written_is_read(tmp_path_factory, rows):
    # given any strings, among them those with commas and quotes, and any numbers
    file = tmp_path_factory.mktemp("table") / "t.csv"
    written = pd.DataFrame(rows, columns=["text", "number"])
    written.to_csv(file, index=False)

    found = read_csv(file, strings=["text"])

    assert found["text"].fillna("").tolist() == written["text"].tolist()
    np.testing.assert_array_equal(found["number"].astype(float), written["number"])


def test_columns_get_types_and_names_and_what_does_not_fit_stays(file):
    file.write_text(
        "Built (day),ok,Sold,n\n15.3.2024,TRUE,2024-03-15T10:30:00Z,1\nNA,no,NA,2\nsoon,maybe,,3\n"
    )

    found = read_table(
        file,
        booleans=["ok"],
        dates={"built": "%d.%m.%Y", "sold": "%Y-%m-%d"},
        names={"Built (day)": "built", "Sold": "sold"},
    )

    assert found["built"].fillna("").tolist() == ["2024-03-15", "", "soon"]
    assert found["sold"].fillna("").tolist() == ["2024-03-15", "", ""]
    assert found["ok"].tolist() == [1.0, 0.0, "maybe"]
    assert found["n"].tolist() == [1, 2, 3]
