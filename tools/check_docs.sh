#!/usr/bin/env bash
# The documentation stays true: links lead somewhere, and every `make TARGET` and `fovea COMMAND` it names exists.
# tests/house/docs_test.cpp holds the checks, so `make test` runs them too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cmake --build build --target fovea_house_tests
build/bin/fovea_house_tests --gtest_filter='Documentation.*' --gtest_brief=1
