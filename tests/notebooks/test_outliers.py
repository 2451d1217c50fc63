"""The notebook of the detectors runs from top to bottom, and says what is committed."""

import re

import nbclient
import nbformat
import pytest

from roadworthy.models import outliers
from roadworthy.models.outliers import device

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def printed(cell):
    """What a cell says in text, without its pictures."""
    return "".join(
        output.text if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in cell.outputs
        if "image/png" not in output.get("data", {})
    )


def test_what_is_committed_is_what_it_says_when_it_runs(root, tmp_path):
    committed = nbformat.read(root / "notebooks" / "outliers.ipynb", as_version=4)
    place = tmp_path / "data"
    place.mkdir()
    device.series().to_csv(place / "outliers.csv", index=False)
    (tmp_path / outliers.data).write_bytes((root / outliers.data).read_bytes())

    executed = nbformat.from_dict(committed)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(executed, timeout=240, resources=resources).execute()

    pairs = [pair for pair in zip(committed.cells, executed.cells, strict=True) if "outputs" in pair[0]]
    for before, now in pairs:
        texts = printed(before), printed(now)
        words = [NUMBER.sub("0", text).split() for text in texts]
        assert words[0] == words[1]
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in texts]
        assert numbers[1] == pytest.approx(numbers[0], rel=0.05, abs=0.006)
    assert [cell.execution_count for cell, _ in pairs] == list(range(1, len(pairs) + 1))


def test_the_sample_is_what_the_device_sends(root, tmp_path):
    made = tmp_path / "series.csv"
    device.series().to_csv(made, index=False)

    assert f"size: {made.stat().st_size}" in (root / outliers.data).read_text()
