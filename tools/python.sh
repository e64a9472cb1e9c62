#!/usr/bin/env bash
# The Python package: tools/python.sh install puts it into .venv, built in build/ beside the C++ library, so that a
# second time costs seconds; tools/python.sh test installs it and runs its tests and the examples in its docstrings;
# tools/python.sh reference installs it and writes its reference to out/docs/python; tools/python.sh package makes the
# source archive and the wheel in out/python, as strangers would, and tests the wheel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
    --config-settings=build-dir=build . </dev/null
}

# The archive from what git holds and no more, the wheel from the archive alone (pip brings what builds it), the tests
# in a fresh environment without PyTorch and JAX, from a folder that holds the tests only.
package() {
  local out=$PWD/out/python place
  place=$(mktemp -d)
  trap "rm -rf '$place'" EXIT
  rm -rf "$out"
  mkdir -p "$out"
  git archive --prefix=source/ HEAD | tar -x -C "$place"
  (cd "$place/source" && "$OLDPWD/.venv/bin/python" -c \
    'import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])' "$out")
  python3 -m venv "$place/fresh"
  cd "$place"
  fresh/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$out" "$out"/fovea-*.tar.gz
  fresh/bin/python -m pip install --quiet --disable-pip-version-check "$(echo "$out"/fovea-*.whl)[test]"
  cp -r source/tests/python tests
  rm -rf source
  fresh/bin/python -m pytest -q -p no:cacheprovider tests
  ls -l "$out"
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
  reference)
    tools/setup.sh build python python-test docs
    install
    .venv/bin/python tools/docs/python_reference.py ;;
  package)
    tools/setup.sh build python
    package ;;
  *)
    echo "python: expected install, test, reference or package, found '${1:-}'" >&2
    exit 2 ;;
esac
