#!/usr/bin/env bash
# The Python package: tools/python.sh install puts it into .venv, built in build/ beside the C++ library, so that a
# second time costs seconds; tools/python.sh test installs it and runs its tests and the examples in its docstrings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
    --config-settings=build-dir=build . </dev/null
}

case "${1:-}" in
  install)
    tools/setup.sh build python
    install
    .venv/bin/python -c 'import fovea; print("fovea", fovea.__version__, "in .venv")' ;;
  test)
    if ! tools/setup.sh build python python-test; then
      echo "python: the package index gives no nanobind, NumPy or pytest, so the Python package is NOT tested" >&2
      exit 0
    fi
    install
    .venv/bin/python -m pytest ;;
  *)
    echo "python: expected install or test, found '${1:-}'" >&2
    exit 2 ;;
esac
