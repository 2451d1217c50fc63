"""The OpenAPI document, held against real servers by schemathesis."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.serving.http.openapi import document
from roadworthy.serving.models.model_store import ModelVersions
from tests.serving.conftest import TOKEN


@pytest.fixture
def schemathesis(root, tmp_path):
    def run(url: str, *arguments: str) -> subprocess.CompletedProcess:
        program = Path(sys.executable).with_name("schemathesis")
        return subprocess.run(
            [
                *(program, "--config-file", root / "schemathesis.toml", "run"),
                *(f"{url}/openapi.json", "--max-examples=10", "--generation-deterministic"),
                *("--no-color", *arguments),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_schemathesis_finds_nothing(guarded, schemathesis):
    done = schemathesis(guarded.url, "--header", f"Authorization: Bearer {TOKEN}")

    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 100


def test_the_document_has_the_schema_of_each_loaded_model(loaded):
    found = document({"fuel": ModelVersions("fuel", loaded[0])}, max_rows=7)

    predict = found["paths"]["/v1/models/fuel:predict"]["post"]
    body = predict["requestBody"]["content"]["application/json"]["schema"]
    instances = body["properties"]["instances"]
    assert instances["items"]["properties"]["weight_kg"]["maximum"] == 2400
    assert "At most 7 rows" in instances["description"]
    error = predict["responses"]["default"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/Error"}


def test_a_model_without_a_version_has_no_route_that_answers():
    paths = document({"fuel": ModelVersions("fuel")}, max_rows=7)["paths"]

    assert "/v1/models/fuel:predict" not in paths
    assert "/v1/models/fuel" in paths


def test_all_but_whether_it_lives_and_is_ready_needs_the_token(loaded):
    found = document({"fuel": ModelVersions("fuel", loaded[0])}, max_rows=7, has_token=True)

    openly = {
        path for path, one in found["paths"].items() for op in one.values() if "security" in op
    }
    assert found["security"] == [{"token": []}]
    assert openly == {
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/fuel/ready",
    }


def test_the_server_returns_the_document_of_its_models(server):
    paths = server.get("/openapi.json").json()["paths"]

    assert paths["/v1/models/fuel:predict"]["post"]["responses"]["200"]
    version = paths["/v2/models/fuel/versions/{version}/ready"]["get"]["parameters"][0]
    assert version["schema"]["enum"] == ["1", "2"]
