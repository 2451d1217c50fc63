"""A model server imports nothing that its image lacks."""

import subprocess
import sys

LACKING = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Lacking())
import roadworthy.serving.__main__
import roadworthy.serving.http.grpc
import roadworthy.serving.process.server
"""
MODULES = {"python-dateutil": "dateutil", "pyjwt": "jwt"}


def test_a_server_starts_without_what_its_lock_leaves_out(root):
    # given the packages that the lock file of the serving image excludes
    lines = (root / "requirements" / "serving.excludes").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    modules = [MODULES.get(name, name.replace("-", "_")) for name in packages]
    assert {"pandas", "kubernetes"} <= set(modules)

    # when a server is imported where they are not installed
    done = subprocess.run(
        [sys.executable, "-c", LACKING, *modules, "sklearn", "mlflow", "dvc"],
        capture_output=True,
        text=True,
        check=False,
    )

    # then it needs none of them
    assert done.returncode == 0, done.stderr
