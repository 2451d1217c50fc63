"""KServe's model server without the rest of KServe, in processes that have not loaded it."""

import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.serving.process import lean
from tests.loading import loaded_by

HEAVY = {"pandas", "kubernetes", "pyarrow", "requests"}


def run(script: str, *before: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *before], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_server_loads_nothing_heavy_that_it_does_not_use():
    loaded = loaded_by(
        "from roadworthy.serving.process import lean\nlean.load()\n"
        "import roadworthy.serving.process.server"
    )

    assert not loaded & HEAVY


def test_a_running_server_loads_nothing_heavy_for_what_it_is_usually_asked(start, bundles):
    server = start("--bundle", bundles[0].path, "--version", 1)
    golden = bundles[0].golden.requests

    for path in ("/v1/models", "/v2/health/ready", "/v2/models/fuel", "/openapi.json", "/metrics"):
        assert server.get(path).status_code == 200
    assert server.post("/v1/models/fuel:predict", json={"instances": golden}).status_code == 200

    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "/onnxruntime/" in mapped
    assert "/pandas/" not in mapped


def test_its_names_are_kserves_own():
    found = run(
        "import sys\n"
        "from roadworthy.serving.process import lean\n"
        "lean.load()\n"
        "import kserve\n"
        "ours = {name: getattr(kserve, name) for name in lean.NAMES}\n"
        "client = kserve.KServeClient  # which needs all of the package\n"
        "assert 'kubernetes' in sys.modules\n"
        "print([name for name in ours if vars(kserve)[name] is not ours[name]], client.__module__)"
    )

    assert found == "[] kserve.api.kserve_client"


def test_the_whole_package_has_the_names_where_they_are_looked_for():
    found = run(
        "import kserve\n"
        "from roadworthy.serving.process import lean\n"
        "lean.load()  # does nothing, as it is loaded\n"
        "print({name: getattr(kserve, name).__module__ for name in lean.NAMES})"
    )

    assert found == str(dict(lean.NAMES))


def test_modules_of_kserve_are_found_and_other_names_are_not_made_up():
    found = run(
        "from roadworthy.serving.process import lean\n"
        "lean.load()\n"
        "import kserve, kserve.exceptions\n"
        "from kserve import constants, rest\n"
        "print(kserve.__name__, rest.__name__, hasattr(kserve, '__wrapped__'))\n"
        "print(hasattr(kserve, 'nonsense'), hasattr(kserve, 'ApiClient'))"
    )

    assert found.splitlines() == ["kserve kserve.rest False", "False True"]


def test_a_request_that_kserve_reads_with_pandas_brings_pandas():
    found = run(
        "import sys\n"
        "from roadworthy.serving.process import lean\n"
        "lean.load()\n"
        "from kserve import InferInput, InferRequest\n"
        "from kserve.utils.utils import get_predict_input, get_predict_response\n"
        "cars = InferInput('weight_kg', [2], 'FP64', data=[1200.0, 1300.0])\n"
        "request = InferRequest('fuel', [cars], parameters={'content_type': 'pd'})\n"
        "assert 'pandas' not in sys.modules\n"
        "frame = get_predict_input(request)\n"
        "import pandas\n"
        "assert isinstance(frame, pandas.DataFrame)\n"
        "answer = get_predict_response(request, frame, 'fuel')\n"
        "print(frame.to_dict('list'), answer.outputs[0].data)"
    )

    assert found == "{'weight_kg': [1200.0, 1300.0]} [1200.0, 1300.0]"


def test_another_kserve_than_it_knows_is_told_in_a_sentence(tmp_path):
    # given a package of that name that is laid out otherwise
    (tmp_path / "kserve").mkdir()
    (tmp_path / "kserve" / "__init__.py").write_text("class ModelServer: ...\n")

    found = run(
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from roadworthy.serving.process import lean\n"
        "try:\n"
        "    lean.load()\n"
        "except lean.LeanError as error:\n"
        "    print(error)\n"
        "import kserve\n"
        "print(kserve.ModelServer)",
        str(tmp_path),
    )

    sentence, after = found.splitlines()
    assert "not laid out as roadworthy.serving.process.lean knows it (No module named" in sentence
    assert "Install the version of KServe that this project names." in sentence
    assert after == "<class 'kserve.ModelServer'>"


@pytest.fixture
def not_imported(monkeypatch) -> str:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    return "wave"


def test_a_module_that_is_put_off_is_the_real_one_when_it_is_used(not_imported):
    with lean._put_off(not_imported):
        import wave as put_off

        annotated = put_off.DataFrame
        assert annotated.__module__ == "wave"
    assert "wave" not in sys.modules

    import wave

    assert put_off.Wave_read is wave.Wave_read
    with pytest.raises(AttributeError):
        _ = put_off.DataFrame


def test_a_module_that_is_used_while_it_is_put_off_is_imported_at_once(not_imported):
    with lean._put_off(not_imported):
        import wave as put_off

        used = put_off.Wave_read

        import wave

    assert wave.Wave_read is used
