#!/usr/bin/env python3
"""Writes the C++ reference and the book to out/docs, and fails on a public name without a word about it.

Doxygen reads the headers twice: once to find the names without a comment of their own, once with the comments of
their groups given to them (doxygen_filter.py, whose comment_of() says how far a comment reaches). Destructors,
assignments, operators, copying and moving constructors, visit() (nn/module.hpp says what it is), explicit
specialisations (their template says what they are) and friend declarations need none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/docs"))
from doxygen_filter import comment_of  # noqa: E402

WARNING = re.compile(r"^(?P<path>.*?):(?P<line>\d+): warning: (?:Member|Compound) (?P<name>.*) is not documented\.$")


def run_doxygen(headers: str, output: Path, extra: list[str], environment: dict[str, str]) -> list[re.Match[str]]:
    """The warnings about names without documentation."""
    log = output / "warnings.txt"
    settings = (ROOT / "tools/docs/Doxyfile").read_text(encoding="utf-8")
    settings += "\n".join([f'OUTPUT_DIRECTORY="{output}"', f'WARN_LOGFILE="{log}"', *extra, ""])
    if headers != "include":
        settings += f'INPUT="{headers}"\nUSE_MDFILE_AS_MAINPAGE=\n'
    subprocess.run(["doxygen", "-"], input=settings, text=True, cwd=ROOT, check=True, env={**os.environ, **environment},
                   stdout=subprocess.DEVNULL)
    return [match for match in map(WARNING.match, log.read_text(encoding="utf-8").splitlines()) if match]


def needs_none(name: str, lines: list[str], index: int) -> bool:
    copies = re.match(r"(\w+)\((?:const )?\1\b[^,]*\)", name)
    special = any(line.startswith("template <>") for line in lines[max(0, index - 2) : index])
    plain = name.split("(")[0].split(" ")[0]
    return bool(copies) or "~" in name or "operator" in name or plain == "visit" or "friend" in lines[index] or special


def check(headers: str, output: Path, extra: list[str]) -> list[str]:
    """Names without documentation, as "header: name"."""
    with tempfile.TemporaryDirectory() as scratch:
        first = run_doxygen(headers, Path(scratch), ["GENERATE_HTML=NO", "GENERATE_XML=YES"], {})
        covered = []
        missing = []
        for match in first:
            path = os.path.relpath(match["path"], ROOT)
            lines = Path(match["path"]).read_text(encoding="utf-8").split("\n")
            number = int(match["line"])
            if comment_of(lines, number - 1):
                covered.append(f"{path}:{number}")
            elif not needs_none(match["name"], lines, number - 1):
                missing.append(f"{path}: {match['name']}")
        if "GENERATE_HTML=YES" in extra:
            listing = Path(scratch) / "covered.txt"
            listing.write_text("\n".join(covered), encoding="utf-8")
            run_doxygen(headers, output, extra, {"FOVEA_DOCS_COVERED": str(listing)})
        return sorted(set(missing))


def main() -> int:
    headers = sys.argv[1] if len(sys.argv) > 1 else "include"
    output = ROOT / "out/docs"
    output.mkdir(parents=True, exist_ok=True)
    whole = headers == "include"
    missing = check(headers, output, ["GENERATE_HTML=YES", "HTML_OUTPUT=."] if whole else [])
    for name in missing:
        print(f"docs: expected a comment above or behind {name}, found none", file=sys.stderr)
    if whole:
        print("docs: out/docs/index.html")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
