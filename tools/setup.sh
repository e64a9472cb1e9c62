#!/usr/bin/env bash
# Installs what is missing for the named groups, says what it does, and does nothing when nothing is missing.
# Usage: tools/setup.sh [build] [test] [lint] [demo] [python] [python-test] [peers] [docs]  (default: build test)
# Needs Debian 12 or a relative of it. Without root rights it uses sudo. Without a network it works as long as
# nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Every name below is a Debian package; cmake/FoveaDependencies.cmake finds what they bring.
build=(g++ cmake ninja-build pkg-config ccache lld
  libhwy-dev libdnnl-dev libtomlplusplus-dev libcli11-dev libfmt-dev nlohmann-json3-dev
  libsentencepiece-dev libicu-dev zlib1g-dev libgtest-dev libgmock-dev libbenchmark-dev)
test=(chromium locales)
lint=(clang-16 clang-format-16 clang-tidy-16 llvm-16 libclang-rt-16-dev libomp-16-dev)
docs=(doxygen python3 python3-sphinx)
python=(python3 python3-venv python3-dev)

# How long a lock of apt is waited for, in seconds: unattended upgrades take minutes.
lock_patience=600

say() { printf 'setup: %s\n' "$*" >&2; }

run_as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    say "expected root rights or sudo, found neither; as root, run: $*"
    exit 1
  fi
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# apt_get ARGUMENT...: waits while another package tool holds one of apt's locks. apt's own DPkg::Lock::Timeout is
# silent without a terminal and does not cover the lock of the lists, which update takes.
apt_get() {
  local errors status waited=0
  while true; do
    status=0
    { errors=$(run_as_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null 2>&1 >&3) ||
        status=$?; } 3>&2
    [ "$status" -ne 0 ] && [[ $errors =~ "Could not get lock"|"is another process using it" ]] && [ "$waited" -lt "$lock_patience" ] || break
    [ $((waited % 30)) -ne 0 ] ||
      say "another package tool holds apt's lock; waiting up to $((lock_patience - waited)) s for it"
    sleep 2
    waited=$((waited + 2))
  done
  [ -z "$errors" ] || printf '%s\n' "$errors" >&2
  return "$status"
}

# Of sources that it cannot reach, apt only warns; what they lack then is said by who needs it.
update_lists() {
  say "apt-get update"
  apt_get update -qq || say "apt could not renew its lists (its words stand above); going on with those that are there"
}

install_packages() {
  local missing=() name
  for name in "$@"; do
    is_installed "$name" || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${missing[*]}"
  update_lists
  if ! apt_get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}"; then
    say "expected the packages ${missing[*]}, found that apt cannot install them (its words stand above); with a network" \
      "and Debian 12's main archive in apt's sources, run this again"
    exit 1
  fi
}

has_package_index() { [ "$( (apt-cache dumpavail 2>/dev/null || true) | head -c 20000000 | wc -c)" -ge 20000000 ]; }

# make_venv DIRECTORY REQUIREMENT...: creates it and installs only what it lacks.
make_venv() {
  local directory=$1 requirement missing=()
  shift
  if [ ! -x "$directory/bin/python" ]; then
    say "creating $directory"
    if ! python3 -m venv "$directory" >&2; then
      rm -rf "$directory"
      say "expected an environment in $directory, found that python3 -m venv cannot make one (its words stand above)"
      return 1
    fi
  fi
  for requirement in "$@"; do
    "$directory/bin/python" - "$requirement" <<'PY' || missing+=("$requirement")
import importlib.metadata, sys
name, _, version = sys.argv[1].partition("==")
try:
    found = importlib.metadata.version(name).split("+")[0]
except importlib.metadata.PackageNotFoundError:
    sys.exit(1)
sys.exit(version.split("+")[0] not in ("", found))
PY
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing into $directory: ${missing[*]}"
  if ! "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "${missing[@]}" </dev/null >&2; then
    say "expected ${missing[*]} in $directory, found that pip cannot install them (its words stand above); with a network," \
      "run this again"
    return 1
  fi
}

[ $# -gt 0 ] || set -- build test
for group in "$@"; do
  case "$group" in
    build) install_packages "${build[@]}" ;;
    test) install_packages "${test[@]}" ;;
    docs) install_packages "${docs[@]}" ;;
    lint) install_packages "${lint[@]}" ;;
    demo)  # the demo's data is apt's own package index; awk reads it
      has_package_index || update_lists
      if ! has_package_index; then
        say "expected apt's index of Debian's main archive, the demo's data, found less than 20 MB of it; with a network," \
          "run this again, or give texts of your own: make demo DATA=file.csv TARGET=column"
        exit 1
      fi ;;
    python)
      install_packages "${python[@]}"
      make_venv .venv numpy nanobind scikit-build-core pytest matplotlib ;;
    python-test)  # what the package is compared with; without them those tests are skipped and say so
      make_venv .venv torch==2.13.0+cpu || say "no PyTorch here: its tests will be skipped"
      make_venv .venv jax || say "no JAX here: its tests will be skipped"
      make_venv .venv mypy || say "no mypy here: the package's types will not be checked"
      make_venv .venv scikit-learn || say "no scikit-learn here: tools/golden/metrics.py will not run" ;;
    peers)
      install_packages "${python[@]}" g++
      make_venv .venv-peers numpy torch==2.13.0 ;;
    *)
      say "expected a group out of build, test, lint, demo, python, python-test, peers, docs, found '$group'"
      exit 2 ;;
  esac
done
