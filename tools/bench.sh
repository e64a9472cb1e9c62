#!/usr/bin/env bash
# Runs every benchmark program (build/bin/*_bench); each checks its results before it times them.
# Usage: tools/bench.sh [ARGUMENT OF GOOGLE BENCHMARK...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in build/bin/*_bench; do
  [ -x "$program" ] || continue
  echo "== $(basename "$program")"
  # Waiting threads spin here: a step of 10 ms must not pay for waking them.
  OMP_WAIT_POLICY=active "$program" "$@"
done
