#!/usr/bin/env python3
"""Prints a header as Doxygen is to read it: the house's plain comments become documentation.

A block of // above a declaration becomes ///, one behind a declaration ///<, the first of a file @file. A
declaration that stands in the list FOVEA_DOCS_COVERED (lines "path:number") is given the comment that speaks for it
(comment_of). No line is added or removed: numbers stay those of the file.
"""

import os
import re
import sys

TYPE = re.compile(r"\s*(?:struct|class|enum|using|typedef)\b")
NAME = re.compile(r"(?<!<)\b(\w+)\(")
TRAILING = re.compile(r'^(?P<code>\s*[^\s/"][^"]*?(?:"[^"]*"[^"]*?)*)\s*(?<!/)//(?![/<]) ?(?P<text>.*)$')


def is_edge(line: str) -> bool:
    text = line.strip()
    return not text or text.endswith("{") or text.startswith("}") or text in ("public:", "protected:", "private:")


def is_behind(line: str) -> bool:
    """Whether a line of nothing but comment goes on with the one behind the line above: it stands far in."""
    return len(line) - len(line.lstrip()) >= 12


def plain(text: str) -> str:
    """Words in which Doxygen finds neither HTML nor commands of its own; what is quoted it leaves alone."""
    parts = re.split(r'("[^"]*"|`[^`]*`)', text)
    return "".join(part if part[:1] in ('"', "`") else re.sub(r"[\\<@]", r"\\\g<0>", part) for part in parts)


def documented(line: str, mark: str) -> str:
    """A line of nothing but comment, as documentation."""
    margin, _, text = line.partition("//")
    return margin + mark + plain(text)


def words(block: list[str]) -> str:
    return plain(" ".join(line.strip().lstrip("/< ") for line in block))


def comment_of(lines: list[str], index: int) -> str:
    """The words that speak for the declaration lines[index] without Doxygen's knowing, empty for none.

    A comment above or behind a line speaks for every name on it. One above speaks for its whole paragraph (up to an
    empty line or a brace) where it opens it and is the only one in it, and else for the functions right below that
    bear one name. None speaks for a type below another name.
    """
    if "//" in lines[index] and "NOLINT" not in lines[index]:
        return words([lines[index].partition("//")[2]])
    first = index
    while first > 0 and not is_edge(lines[first - 1]):
        first -= 1
    last = index
    while last + 1 < len(lines) and not is_edge(lines[last + 1]):
        last += 1
    below = index  # the first line of code under the nearest comment above
    while below > first and "//" not in lines[below - 1]:
        below -= 1
    block = below
    while block > first and lines[block - 1].strip().startswith("//"):
        block -= 1
    if block == below or is_behind(lines[block]):  # none, or one that goes on behind a line
        return ""
    above, here = (NAME.search(" ".join(lines[begin : begin + 2])) for begin in (below, index))
    alone = block == first and not any("//" in line for line in lines[below : last + 1])
    overload = bool(above and here) and above[1] == here[1]
    type_between = TYPE.match(lines[index]) or TYPE.match(lines[below])
    if index == below or ((alone or overload) and not type_between):
        return words(lines[block:below])
    return ""


def spoken_for(line: str, spoken: str, first_has_it: bool) -> str:
    """The line with the comment before its name or, of `int begin, end;`, behind each name that has none."""
    code, mark, behind = line.partition("///<")
    if ", " not in code or "(" in code or TYPE.match(code):
        return f"/** {spoken} */ {line}"
    one = f" /**< {spoken} */ "
    names = code.split(", ")
    code = names[0] + "," + ("" if first_has_it else one) + ("," + one).join(names[1:])
    return code + (mark + behind if mark else one)


def convert(lines: list[str], covered: set[int]) -> list[str]:
    result: list[str] = []
    head = behind = False
    for index, line in enumerate(lines):
        text = line.strip()
        if text.startswith("//"):
            head = head or index == 0
            if index == 0:
                line = "/** @file */ " + documented(text, "///")
            elif behind and is_behind(line):
                line = documented(line, "///<")
            else:
                line = documented(line, "///")
                behind = False
        else:
            head = False
            match = TRAILING.match(line)
            behind = bool(match) and "NOLINT" not in match["text"]
            if match and behind:
                line = f"{match['code']}  ///< {plain(match['text'])}"
            if index + 1 in covered:
                below_comment = index > 0 and lines[index - 1].strip().startswith("//")
                line = spoken_for(line, comment_of(lines, index), below_comment)
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
