"""The documentation builds without a network, and what is made from the code is up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def site(root, tmp_path_factory) -> Path:
    """The built documentation. Strict: a dead link or anchor is an error."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", target],
        cwd=root,
        check=True,
    )
    return target


def test_every_page_is_built(root, site):
    pages = {file.relative_to(root / "docs") for file in (root / "docs").rglob("*.md")}
    assert {site / page.with_suffix(".html") for page in pages} <= set(site.rglob("*.html"))


def test_a_list_goes_on_over_its_blocks(root, site):
    """Steps are numbered through: what belongs to one is indented by four spaces."""
    for page in (root / "docs").rglob("*.md"):
        lists = re.findall(r"^1\. ", page.read_text(), re.MULTILINE)
        built = site / page.relative_to(root / "docs").with_suffix(".html")
        article = built.read_text().partition("<article")[2].partition("</article")[0]
        assert article.count("<ol") == len(lists), page


def test_a_page_loads_nothing_from_another_host(site):
    loaded = re.compile(
        r"<(?:script|img|iframe|link)[^>]+(?:src|href)=[\"']?(https?:)?//([^\"' >]+)"
    )
    for page in site.rglob("*.html"):
        found = [one[1] for one in loaded.findall(page.read_text())]
        assert not found, page


def test_the_reference_is_what_the_code_says(root):
    done = subprocess.run(
        [sys.executable, "docs/reference.py", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_reference_is_found(root, tmp_path):
    # given the pages, of which one was changed by hand
    copy = tmp_path / "docs"
    (copy / "reference").mkdir(parents=True)
    (copy / "reference.py").write_text((root / "docs" / "reference.py").read_text())
    subprocess.run([sys.executable, copy / "reference.py"], check=True)
    (copy / "reference" / "settings.md").write_text("# Settings\n")

    # when they are checked
    done = subprocess.run(
        [sys.executable, copy / "reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    # then that page is named, with the remedy
    assert done.returncode == 1
    assert "settings.md" in done.stderr
    assert "make docs" in done.stderr
