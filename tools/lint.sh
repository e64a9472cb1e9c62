#!/usr/bin/env bash
# Checks that change nothing: layout (clang-format), shell syntax, Python syntax, and clang-tidy's findings in the
# library (LINT_TIDY=0 leaves clang-tidy out: it takes minutes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
git ls-files '*.cpp' '*.hpp' | xargs clang-format-16 --dry-run --Werror
git ls-files '*.sh' '.ci/run' | xargs -n 1 bash -n
git ls-files '*.py' | xargs -r -n 1 python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])'
if [ "${LINT_TIDY:-1}" = 1 ]; then
  # Configured, never built; without g++'s precompiled headers, which clang cannot read and which hide missing includes.
  cmake --preset release -B build-lint -DFOVEA_PCH=OFF -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
  git ls-files 'src/*.cpp' | xargs -P 2 -n 8 clang-tidy-16 -p build-lint --quiet 2>/dev/null
fi
echo "lint: clean"
