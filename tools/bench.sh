#!/usr/bin/env bash
# Runs every benchmark program (build/bin/*_bench); each checks its results before it times them.
# Usage: tools/bench.sh [ARGUMENT OF GOOGLE BENCHMARK...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in build/bin/*_bench; do
  [ -x "$program" ] || continue
  echo "== $(basename "$program")"
  # For oneDNN, which one of them times beside ours: its waiting threads spin, so that it is at its best.
  OMP_WAIT_POLICY=active "$program" "$@"
done
