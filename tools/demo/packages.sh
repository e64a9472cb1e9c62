#!/usr/bin/env bash
# Writes the demo's data: one row a Debian package, from apt's own index (apt-cache dumpavail, no download).
# Usage: tools/demo/packages.sh [OUTPUT.csv]      (default: demo/packages.csv)
#   text     the package's one-line description
#   section  what is to be predicted: the archive section without its area ("contrib/net" is net); 20 largest kept
#   source   the source package, the group by which the splits are cut: its binaries have near-equal descriptions
#   package  its name, to look things up; not given to the models
# A package that the index lists twice (a security update) is one row, and so is a description that the same source
# repeats for the same section (its -dbg, -udeb and per-architecture builds).
set -euo pipefail
output=${1:-demo/packages.csv}
mkdir -p "$(dirname "$output")"
temporary=$(mktemp "$output.XXXXXX")
trap 'rm -f "$temporary"' EXIT

records() {
  LC_ALL=C apt-cache dumpavail | LC_ALL=C awk '
    /^Package: / { package = $2 }
    /^Source: / { source = $2 }                                # "Source: gcc-12 (12.2.0-14)": the version falls away
    /^Section: / { section = $2; sub(/.*\//, "", section) }
    /^Description(-en)?: / { text = $0; sub(/^[^:]*: */, "", text) }
    /^$/ {
      if (package != "" && section != "" && text != "" && !seen[package]++) {
        if (source == "") source = package
        gsub(/[\t\r]/, " ", text)
        if (!repeated[source "\t" section "\t" text]++) print section "\t" source "\t" package "\t" text
      }
      package = source = section = text = ""
    }'
}

records | LC_ALL=C awk -F '\t' '
  { rows[NR] = $0; section[NR] = $1; count[$1]++ }
  END {
    for (kept = 0; kept < 20; ++kept) {
      best = ""
      for (name in count)
        if (!(name in keep) && (best == "" || count[name] > count[best] || (count[name] == count[best] && name < best)))
          best = name
      if (best == "") break
      keep[best] = 1
    }
    print "text,section,source,package"
    for (i = 1; i <= NR; ++i) {
      if (!(section[i] in keep)) continue
      split(rows[i], field, "\t")
      gsub(/"/, "\"\"", field[4])
      print "\"" field[4] "\"," field[1] "," field[2] "," field[3]
    }
  }' >"$temporary"

rows=$(($(wc -l <"$temporary") - 1))
if [ "$rows" -lt 1000 ]; then
  echo "packages: expected thousands of packages from apt-cache dumpavail, found $rows; run apt-get update" >&2
  exit 1
fi
chmod 644 "$temporary"
mv "$temporary" "$output"
trap - EXIT
echo "packages: $rows rows in $output" >&2
