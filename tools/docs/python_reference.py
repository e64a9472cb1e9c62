#!/usr/bin/env python3
"""Writes the Python reference to out/docs/python with Sphinx, and fails on a public name without docstring, on one that
the reference lacks, and on every warning of Sphinx, broken references among them.

Run by the Python that has the package: .venv/bin/python tools/docs/python_reference.py [MODULE...]. Sphinx is Debian's
package, which a virtual environment does not see by itself.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = "/usr/lib/python3/dist-packages"
sys.path.insert(0, str(ROOT / "tests/python"))
import public_names  # noqa: E402


def import_modules(names: list[str]) -> list:
    """Those whose packages are installed; PyTorch and JAX are wishes of the set-up."""
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            print(f"docs: {name} is left out of the Python reference: {error}", file=sys.stderr)
    return found


def problems_in(modules: list) -> list[str]:
    return [
        f"{name.path}: {problem}"
        for module in modules
        for name in public_names.names_of(module)
        for problem in public_names.problems_of(name)
    ]


def write_pages(modules: list, folder: Path) -> None:
    """A page for each name, so that its place is short: fovea.attention.html."""
    index = (ROOT / "docs/reference/index.rst").read_text(encoding="utf-8")
    for module in modules:
        names = public_names.names_of(module)[1:]
        tops = [name for name in names if name.path.rpartition(".")[0] == module.__name__]
        index += f"{module.__name__}\n{'-' * len(module.__name__)}\n\n.. automodule:: {module.__name__}\n\n"
        index += ".. autosummary::\n   :nosignatures:\n\n" + "".join(f"   {name.path}\n" for name in tops)
        index += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   {name.path}\n" for name in tops) + "\n"
        for name in tops:
            members = [x.path.rpartition(".")[2] for x in names
                       if x.kind in ("method", "property") and x.path.startswith(name.path + ".")]  # fmt: skip
            kind = "data" if name.kind == "constant" else name.kind
            page = f"{name.path}\n{'=' * len(name.path)}\n\n.. auto{kind}:: {name.path}\n"
            page += f"   :members: {', '.join(members)}\n" if members else ""
            page += "   :special-members: __call__\n" if "__call__" in members else ""
            (folder / f"{name.path}.rst").write_text(page, encoding="utf-8")
    (folder / "index.rst").write_text(index, encoding="utf-8")
    shutil.copy(ROOT / "docs/reference/conf.py", folder)


def missing_in(inventory: Path, modules: list) -> list[str]:
    """Public names that what Sphinx wrote does not hold."""
    from sphinx.util.inventory import InventoryFile

    with inventory.open("rb") as file:
        found = InventoryFile.load(file, "", lambda base, place: place)
    written = {name for role, names in found.items() if role.startswith("py:") for name in names}
    return [
        name.path
        for module in modules
        for name in public_names.names_of(module)
        if name.path not in written and name.kind != "parameter"  # which stands in its class's own words
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("modules", nargs="*", default=list(public_names.MODULES), metavar="MODULE")
    parser.add_argument("--out", type=Path, default=ROOT / "out/docs/python", help="default: out/docs/python")
    arguments = parser.parse_args()
    sys.path.append(DEBIAN)
    try:
        from sphinx.cmd.build import build_main
    except ImportError as error:
        print(f"docs: expected Sphinx, found none ({error}); tools/setup.sh docs installs it", file=sys.stderr)
        return 1
    modules = import_modules(arguments.modules)
    problems = problems_in(modules)
    for problem in problems:
        print(f"docs: {problem}", file=sys.stderr)
    if problems or not modules:
        return 1
    shutil.rmtree(arguments.out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_pages(modules, Path(scratch))
        if build_main(["-q", "-W", "--keep-going", "-E", "-d", f"{scratch}/doctrees", scratch, str(arguments.out)]) != 0:
            print("docs: expected no warning of Sphinx, found those above", file=sys.stderr)
            return 1
    missing = missing_in(arguments.out / "objects.inv", modules)
    for path in missing:
        print(f"docs: {path}: expected in the Python reference, found nothing", file=sys.stderr)
    print(f"docs: {arguments.out / 'index.html'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
