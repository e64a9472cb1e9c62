#!/usr/bin/env python3
"""Prints a header as Doxygen is to read it: the house's plain comments become documentation.

A block of // above a declaration becomes ///, one behind a declaration ///<, the first of a file @file. A
declaration that stands in the list COVERED (lines "path:number") is given the comment of its group, the nearest
one above it without an empty line between. No line is added or removed: numbers stay those of the file.
"""

import os
import re
import sys

TRAILING = re.compile(r'^(?P<code>\s*[^\s/"][^"]*?(?:"[^"]*"[^"]*?)*)\s*(?<!/)//(?![/<]) ?(?P<text>.*)$')


def comment_above(lines: list[str], index: int) -> str:
    """The words of the group's comment above lines[index], empty where there is none."""
    words: list[str] = []
    for line in reversed(lines[:index]):
        text = line.strip()
        if text.startswith("//"):
            words.insert(0, text.lstrip("/< "))
        elif words or not text or text.endswith("{") or text in ("public:", "protected:"):
            break
        elif "//" in text:  # a neighbour with a comment of its own does not speak for others
            continue
    return " ".join(words)


def convert(lines: list[str], covered: set[int]) -> list[str]:
    result: list[str] = []
    head = behind = False
    for index, line in enumerate(lines):
        text = line.strip()
        if text.startswith("//"):
            head = head or index == 0
            depth = len(line) - len(line.lstrip())
            if index == 0:
                line = "/** @file */ /// " + text.lstrip("/ ")
            elif head:
                line = line.replace("//", "///", 1)
            elif behind and depth >= 12:
                line = line.replace("//", "///<", 1)
            else:
                line = line.replace("//", "///", 1)
                behind = False
        else:
            head = False
            match = TRAILING.match(line)
            behind = bool(match) and "NOLINT" not in match["text"]
            if match and behind:
                line = f"{match['code']}  ///< {match['text']}"
            if index + 1 in covered:
                line = f"/** {comment_above(lines, index)} */ " + line
        result.append(line)
    return result


def main() -> None:
    path = os.path.relpath(sys.argv[1])
    covered: set[int] = set()
    listing = os.environ.get("FOVEA_DOCS_COVERED", "")
    if listing:
        for entry in open(listing, encoding="utf-8").read().split():
            name, _, number = entry.rpartition(":")
            if name == path:
                covered.add(int(number))
    lines = open(path, encoding="utf-8").read().split("\n")
    print("\n".join(convert(lines, covered)), end="")


if __name__ == "__main__":
    main()
