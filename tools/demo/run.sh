#!/usr/bin/env bash
# The main job from end to end: look at the data, train attention beside three baselines, see what it did.
# Usage: tools/demo/run.sh [FILE TARGET]
# Without a file: Debian's package index (description -> section). Models and the page go to out/demo (OUT=…).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
file=${1:-}
target=${2:-}
out=${OUT:-out/demo}
fovea=build/bin/fovea

title() { printf '\n== %s\n' "$*"; }

settings=()
if [ -z "$file" ]; then
  file=demo/packages.csv
  target=section
  title "The data: Debian's package index, one row a package"
  tools/demo/packages.sh "$file"
  "$fovea" data check "$file" --input text --target "$target" --examples 3
else
  if [ -z "$target" ]; then
    echo "demo: expected TARGET=column beside DATA=$file, found none" >&2
    exit 2
  fi
  settings=(--set "data.file=$file" --set "data.target=$target" --set data.text= --set data.split=stratified)
  title "The data: $file"
  "$fovea" data check "$file" --target "$target" --examples 3
fi

title "Training attention, LSTM, CNN and the linear bag of words; scores on the test rows"
"$fovea" train recipes/packages.toml "${settings[@]}" --compare attention,lstm,cnn,linear --out "$out" --overwrite

title "Ten test rows, and how much each word raised (+) or lowered (-) the prediction, in percent"
"$fovea" explain "$out/attention" --test --limit 10 --report "$out/report.html" --quiet

title "What the attention did"
echo "open $out/report.html"
