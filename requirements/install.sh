#!/usr/bin/env bash
# Makes or updates the virtual environment from the lock file: install.sh VENV
# Run in the root of the repository; `make` does.
set -euo pipefail

venv=$1
python=$venv/bin/python
# A module that is compiled once is imported three times as fast; every step of a run is a process.
unset PYTHONDONTWRITEBYTECODE

stamp=$venv/.installed
if [ -e "$stamp" ] && [ "$(cat "$stamp")" != "$(pwd -P)" ]; then
  rm -rf "$venv" # it was moved here
fi

interpreter=$(command -v python3.11) || {
  echo "Python 3.11 is not installed: on Debian, apt-get install python3.11 python3.11-venv." >&2
  exit 1
}

[ -x "$python" ] || "$interpreter" -m venv --without-pip "$venv"

# uv, from whichever pip there is, into the environment; its lock file pins it.
if [ ! -x "$venv/bin/uv" ]; then
  pip_options=(--quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements/uv.txt)
  if "$interpreter" -m pip --python "$python" --version >/dev/null 2>&1; then
    "$interpreter" -m pip --python "$python" install "${pip_options[@]}"
  elif "$python" -m ensurepip >/dev/null 2>&1; then
    "$python" -m pip install "${pip_options[@]}"
  elif command -v uv >/dev/null; then
    uv pip install --quiet --python "$python" --require-hashes --requirement requirements/uv.txt
  else
    echo "Python 3.11 has no pip here: on Debian, apt-get install python3.11-venv." >&2
    exit 1
  fi
fi

"$venv/bin/uv" pip sync --quiet --python "$python" --compile-bytecode --require-hashes requirements/dev.txt
"$venv/bin/uv" pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
pwd -P >"$stamp"
