#!/usr/bin/env bash
# The tests under AddressSanitizer and UndefinedBehaviorSanitizer, those with threads under ThreadSanitizer, and every
# fuzz target for FUZZ_SECONDS (default 15) each. Usage: tools/test_sanitize.sh [JOBS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${1:-2}

echo "== AddressSanitizer, UndefinedBehaviorSanitizer: every test but the installed package's (it is not instrumented)"
cmake --preset sanitize >/dev/null
cmake --build build-sanitize -j "$jobs"
# No fake stack: g++ 12 places it at 32 bytes, and aligned 64-byte moves of the AVX-512 kernels fault there
# (its bug 110027).
ASAN_OPTIONS=detect_stack_use_after_return=0:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
  ctest --test-dir build-sanitize --output-on-failure -j "$jobs" -E '^Install\.' --timeout 900

echo "== ThreadSanitizer: the floors that run threads"
# Fovea's threads are its pool's, which ThreadSanitizer follows by itself. OpenMP's, of which oneDNN starts none as it
# is called, would be followed through archer, by which clang's runtime tells where its barriers are. Libraries that
# are not instrumented (oneDNN, the runtime itself) are not judged.
cmake --preset thread-sanitize >/dev/null
floors=(base kernels attention autograd nn train)
targets=()
for floor in "${floors[@]}"; do
  compgen -G "tests/$floor/*_test.cpp" >/dev/null && targets+=("fovea_${floor}_tests")
done
cmake --build build-tsan -j "$jobs" --target "${targets[@]}"
archer=$(clang++-16 -print-file-name=libarcher.so)
for target in "${targets[@]}"; do
  echo "-- $target"
  OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1 \
    "build-tsan/bin/$target" --gtest_brief=1 --gtest_filter='*Thread*:*Parallel*:*Determin*:*SameBits*:*Memory*'
done

if [ -f tests/fuzz/CMakeLists.txt ]; then
  echo "== Fuzzing"
  cmake --preset fuzz >/dev/null
  cmake --build build-fuzz -j "$jobs"
  build-fuzz/bin/make_corpus build-fuzz/corpus
  for program in build-fuzz/bin/*fuzz*; do
    [ -x "$program" ] || continue
    echo "-- $program"
    corpus=build-fuzz/corpus/$(basename "$program")
    mkdir -p "$corpus"
    "$program" -max_total_time="${FUZZ_SECONDS:-15}" -rss_limit_mb=4096 -timeout=20 -print_final_stats=0 -verbosity=0 \
      -artifact_prefix="build-fuzz/" "$corpus"
  done
fi
echo "== sanitizers and fuzz targets: clean"
