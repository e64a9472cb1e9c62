#!/usr/bin/env bash
# Learning results: every recipe over several seeds and kinds, as Markdown tables for docs/RESULTS.md on standard output.
#   tools/evaluate/run.sh [--seeds "1 2 3"] [--only shakespeare|trec|mr] [--keep]
# --keep: runs that an interrupted evaluation had finished are not repeated.
# Data: $FOVEA_DATA, else ../shared/data beside the repository. Unpacked, and the models written, under
# ${XDG_CACHE_HOME:-$HOME/.cache}/fovea/evaluate, never into the repository.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
data=${FOVEA_DATA:-$here/../shared/data}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fovea/evaluate
fovea=${FOVEA:-$here/build/bin/fovea}
seeds="1 2 3"
only=""
keep=0
while [ $# -gt 0 ]; do
  case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --keep) keep=1; shift ;;
    *) echo "evaluate: expected --seeds, --only or --keep, found $1" >&2; exit 2 ;;
  esac
done
[ -d "$data" ] || { echo "evaluate: expected data in $data, found nothing; set FOVEA_DATA" >&2; exit 1; }
[ -x "$fovea" ] || { echo "evaluate: expected $fovea, found nothing; run make build" >&2; exit 1; }
mkdir -p "$cache"

# "label text" lines to CSV; Latin-1 bytes become UTF-8.
to_csv() {
  echo "text,label"
  iconv -f latin1 -t utf-8 | awk '{ label = $1; sub(/^[^ ]+ /, ""); gsub(/"/, "\"\""); print "\"" $0 "\"," label }'
}
zcat "$data/lm/tinyshakespeare_input.txt.gz" >"$cache/input.txt"
zcat "$data/textclass/TREC.train.all.gz" | to_csv >"$cache/trec-train.csv"
zcat "$data/textclass/TREC.test.all.gz" | to_csv >"$cache/trec-test.csv"
zcat "$data/textclass/rt-polarity.all.gz" | to_csv >"$cache/mr.csv"

# One JSON figure of a metrics.json: figure FILE SPLIT NAME
figure() {
  tr -d '\n' <"$1" | sed -E "s/.*\"$2\": *\{([^}]*)\}.*/\1/; s/.*\"$3\": *([-0-9.e+]+).*/\1/"
}
whole() { tr -d '\n' <"$1" | sed -E "s/.*\"$2\": *([-0-9.e+]+).*/\1/"; }
statistics() {
  awk '{ n++; s += $1; q += $1 * $1 } END { m = s / n; v = (n > 1 ? (q - n * m * m) / (n - 1) : 0); printf "%.4f ± %.4f", m, (v > 0 ? sqrt(v) : 0) }'
}

# study NAME RECIPE SPLIT FIGURE KINDS
study() {
  local name=$1 recipe=$2 split=$3 metric=$4 kinds=$5
  if [ -n "$only" ] && [ "$only" != "$name" ]; then return; fi
  echo
  echo "### $name"
  echo
  echo "\`fovea train recipes/$recipe.toml --set model.kind=KIND --seed SEED\`, seeds $seeds"
  echo
  echo "| model | $metric ($split), mean ± sd | parameters | seconds a run |"
  echo "|---|---|---|---|"
  for kind in $kinds; do
    local values="" times="" folder=""
    for seed in $seeds; do
      folder="$cache/$name-$kind-$seed"
      if [ "$keep" = 0 ] || [ ! -f "$folder/metrics.json" ]; then
        rm -rf "$folder"
        (cd "$cache" && "$fovea" train "$here/recipes/$recipe.toml" --out "$folder" --set "model.kind=$kind" \
          --set "seed=$seed" --quiet >/dev/null)
      fi
      values+="$(figure "$folder/metrics.json" "$split" "$metric")"$'\n'
      times+="$(whole "$folder/metrics.json" seconds)"$'\n'
    done
    echo "| $kind | $(printf '%s' "$values" | statistics) | $(whole "$folder/metrics.json" parameters) |" \
      "$(printf '%s' "$times" | statistics) |"
  done
}

study shakespeare shakespeare valid loss "attention lstm"
study trec trec test accuracy "attention lstm cnn linear majority"
study mr mr test accuracy "attention lstm cnn linear majority"
