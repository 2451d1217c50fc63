"""DVC: what is there is fetched, checked; what is not is told with the object and the remedy."""

import hashlib
import os
import subprocess
import sys

import pytest
from dvc.config import Config

from roadworthy.data import dvc, s3
from tests.conftest import SAMPLE, version_sample

TEXT = "a,b\n1,2\n"
MD5 = hashlib.md5(TEXT.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def store(tmp_path):
    """A remote that holds ``data.csv``."""
    place = tmp_path / "store" / "files" / "md5" / MD5[:2]
    place.mkdir(parents=True)
    (place / MD5[2:]).write_text(TEXT)
    return tmp_path / "store"


@pytest.fixture
def scratch(person):
    person.put("data.csv.dvc", f"outs:\n- md5: {MD5}\n  size: 8\n  hash: md5\n  path: data.csv\n")
    return person.root


class TestContentHash:
    def test_it_is_what_the_file_says(self, scratch):
        assert dvc.content_hash(scratch / "data.csv.dvc") == MD5

    def test_a_missing_file_is_told(self, scratch):
        told = r"other\.csv\.dvc is not in the commit.*dvc add other\.csv"
        with pytest.raises(dvc.DvcError, match=told):
            dvc.content_hash(scratch / "other.csv.dvc")

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"outs", b"outs: []", b"outs:\n- path: x", b"outs:\n- md5:", b"{", b"\xff\xfe",
            b"outs:\n- md5: 12", b"outs:\n- md5: ''", b"outs:\n- text", b"<<<<<<< HEAD\nouts:",
        ],
    )  # fmt: skip
    def test_a_damaged_file_is_told(self, tmp_path, content):
        (tmp_path / "data.csv.dvc").write_bytes(content)

        with pytest.raises(dvc.DvcError, match=r"is not a \.dvc file.*dvc add data\.csv"):
            dvc.content_hash(tmp_path / "data.csv.dvc")


class TestDifference:
    @pytest.mark.parametrize(
        ("text", "edited"), [(TEXT, False), ("a,b\n1,3\n", True), (None, False)]
    )
    def test_a_file_is_compared_with_what_was_added(self, scratch, text, edited):
        if text is not None:
            (scratch / "data.csv").write_text(text)

        told = "".join(dvc.warnings(scratch, "data.csv.dvc"))
        assert ("was edited since it was added" in told) is edited
        assert ("`dvc add data.csv`" in told) is edited

    def test_data_that_git_left_behind_is_that_of_a_commit(self, person):
        # given two branches with other data each
        person.put(".gitignore", "/data.csv\n")
        commits = {}
        for branch, text in (("spring", TEXT), ("summer", "a,b\n3,4\n")):
            person.git("switch", "--quiet", "--create", branch)
            person.put("data.csv", text)
            dvc.add(person.root, "data.csv")
            commits[branch] = person.commit(branch)

        # when Git switches, then the data is told to be the other branch's, until DVC switches too
        person.git("switch", "--quiet", "spring")
        found = dvc.difference(person.root, "data.csv.dvc")
        assert found is not None
        assert found.told == f"is still that of the commit {commits['summer'][:12]}"
        subprocess.run([sys.executable, "-m", *found.remedy.split()], cwd=person.root, check=True)
        assert dvc.difference(person.root, "data.csv.dvc") is None
        assert (person.root / "data.csv").read_text() == TEXT

    def test_a_directory_is_compared_file_by_file(self, scratch):
        dvc.configure(scratch, remote="embedded", url="")
        (scratch / "drawn").mkdir()
        (scratch / "drawn" / "a.txt").write_text("a")
        pointer = dvc.add(scratch, "drawn")
        assert dvc.difference(scratch, pointer) is None

        (scratch / "drawn" / "b.txt").write_text("b")

        found = dvc.difference(scratch, pointer)
        assert found is not None
        assert found.remedy == "dvc add drawn"


class TestPull:
    @pytest.mark.parametrize("name", ["a b, c#it's 50%", 'a "b"'])
    def test_an_address_may_hold_any_character(self, scratch, store, tmp_path, name):
        store.rename(tmp_path / name)
        dvc.configure(scratch, remote="embedded", url=str(tmp_path / name))

        assert dvc.pull(scratch, "data.csv.dvc").read_text() == TEXT

    def test_s3_is_waited_for_as_long_as_everywhere(self, scratch):
        dvc.configure(scratch, remote="s3", url="s3://cars/dvc")

        told = Config(str(scratch / ".dvc"))["remote"]["s3"]
        assert told["read_timeout"] == s3.READ_SECONDS
        assert told["connect_timeout"] == s3.CONNECT_SECONDS

    def test_a_missing_object_is_named_with_the_remedy(self, scratch, tmp_path):
        dvc.configure(scratch, remote="embedded", url=str(tmp_path / "empty"))

        with pytest.raises(dvc.DvcError) as caught:
            dvc.pull(scratch, "data.csv.dvc")

        assert str(caught.value) == (
            f"DVC could not pull data.csv.dvc: the remote has no undamaged object md5: {MD5}. "
            f"Push it where it was added, with `dvc push data.csv.dvc`, or check the remote's "
            f"address and credentials."
        )

    @pytest.mark.parametrize("mode", [0o644, 0o444])
    def test_a_damaged_object_is_refused(self, scratch, store, mode):
        place = store / "files" / "md5" / MD5[:2] / MD5[2:]
        place.write_text("something else")
        place.chmod(mode)
        dvc.configure(scratch, remote="embedded", url=str(store))

        with pytest.raises(dvc.DvcError, match=r"(no un|object is )damaged"):
            dvc.pull(scratch, "data.csv.dvc")

        assert not (scratch / "data.csv").exists()

    def test_a_repository_without_dvc_is_told(self, tmp_path):
        with pytest.raises(dvc.DvcError, match="dvc init"):
            dvc.configure(tmp_path, remote="embedded", url="")


class TestPush:
    def test_what_is_added_and_pushed_can_be_pulled(self, scratch, tmp_path):
        dvc.configure(scratch, remote="embedded", url=str(tmp_path / "store"))
        (scratch / "folder").mkdir()
        for name in ("one", "two"):
            (scratch / "folder" / name).write_text(name)

        pointer = dvc.add(scratch, "folder")
        dvc.push(scratch, pointer)

        assert pointer == "folder.dvc"
        assert dvc.files(scratch / pointer) == 2
        for name in ("folder", ".dvc/cache"):
            (scratch / name).rename(tmp_path / name.replace("/", "-"))
        pulled = dvc.pull(scratch, pointer)
        assert {file.name: file.read_text() for file in pulled.iterdir()} == {
            "one": "one",
            "two": "two",
        }

    def test_a_remote_that_takes_nothing_is_told(self, scratch, tmp_path):
        (tmp_path / "file").touch()
        dvc.configure(scratch, remote="embedded", url=str(tmp_path / "file" / "below"))
        (scratch / "new.txt").write_text("new")

        with pytest.raises(dvc.DvcError, match=r"could not push new\.txt\.dvc.*Not a directory"):
            dvc.push(scratch, dvc.add(scratch, "new.txt"))


def test_the_data_of_a_clone_is_pulled_without_a_network(root, tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--no-local", root, tmp_path / "clone"], check=True)
    version_sample(tmp_path / "clone", tmp_path / "clone" / ".dvc" / "embedded")
    # No proxy can be reached: whatever asks for a network fails.
    nowhere = {f"{kind}_PROXY": "http://127.0.0.1:9" for kind in ("HTTP", "HTTPS", "ALL")}
    nowhere["DVC_SITE_CACHE_DIR"] = str(tmp_path / "site")

    command = [sys.executable, "-m", "dvc", "pull"]
    subprocess.run(command, cwd=tmp_path / "clone", env=os.environ | nowhere, check=True)

    assert (tmp_path / "clone" / "data.csv").read_bytes() == SAMPLE.read_bytes()
