"""What a cluster mounts reaches a step as its variables."""

import os

from roadworthy.core import mounted
from roadworthy.core.settings import Settings


def test_a_mounted_file_is_a_variable_and_the_process_has_the_last_word(tmp_path, monkeypatch):
    # given a ConfigMap and a secret, mounted as Kubernetes does it, and a variable of the process
    for name, content in {
        "roadworthy/ROADWORTHY_ACTOR": "pipeline",
        "roadworthy/ROADWORTHY_TARGET": "kserve",
        "roadworthy-git/ROADWORTHY_GIT_TOKEN": "a-token\n",
        "roadworthy-s3/AWS_ACCESS_KEY_ID": "a-key",
        "roadworthy-s3/notes.txt": "no variable",
    }.items():
        place, _, key = name.partition("/")
        (tmp_path / place / "..data").mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "..data" / key).write_text(content)
        (tmp_path / place / key).symlink_to(f"..data/{key}")
    monkeypatch.setattr(os, "environ", {**os.environ, "ROADWORTHY_TARGET": "local"})

    mounted.export(tmp_path)

    settings = Settings()
    assert (settings.actor, settings.target) == ("pipeline", "local")
    assert settings.git_token.get_secret_value() == "a-token"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "a-key"
    assert "notes.txt" not in os.environ


def test_where_nothing_is_mounted_nothing_changes(tmp_path):
    before = dict(os.environ)

    mounted.export(tmp_path / "nowhere")

    assert dict(os.environ) == before
