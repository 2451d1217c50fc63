"""The boats of the sample that comes with the project."""

import re
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "samples" / "boats.csv"
HULLS = ("glass", "steel", "wood")


def boats(without=""):
    """Return its lines, of which one lacks the length, or all lack a column."""
    lines = SAMPLE.read_text().splitlines()
    lines[17] = lines[17].rpartition(",")[0] + ","
    if without:
        at = lines[0].split(",").index(without)
        cells = [line.split(",") for line in lines]
        lines = [",".join([*row[:at], *row[at + 1 :]]) for row in cells]
    return lines


def below(lines, pattern, replacement, row=None):
    """Return the lines with something replaced below the header, in one row or in all."""
    return [
        line
        if number == 0 or row not in (None, number)
        else re.sub(pattern, replacement, line, count=1)
        for number, line in enumerate(lines)
    ]
