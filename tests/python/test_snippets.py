"""What README and docs show in Python runs as it stands, each document from its first line to its last."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trained

import fovea

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "docs/python.md"]
pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the tests stand alone, without the documentation")

LANGUAGE = """task = "language-model"
[data]
file = "input.txt"
[tokenizer]
kind = "characters"
[model]
layers = 1
heads = 2
width = 16
context = 16
[train]
steps = 3
batch_tokens = 64
"""


def blocks(text):
    """[(number of the first line, code)] of the fenced blocks of Python."""
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: block.start(1)].count("\n") + 1, block[1]) for block in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the documents name."""
    folder = tmp_path_factory.mktemp("snippets")
    trained.classifier(folder)
    shutil.move(folder / "out", folder / "reviews")
    shutil.copy(folder / "data.csv", folder / "new.csv")
    (folder / "input.txt").write_text("To be, or not to be, that is the question.\n" * 40)
    (folder / "language.toml").write_text(LANGUAGE.replace("input.txt", str(folder / "input.txt")))
    fovea.train(folder / "language.toml", out=folder / "shakespeare")
    return folder


def test_every_document_with_python_is_here():
    assert sorted(DOCUMENTS) == sorted(
        str(file.relative_to(ROOT))
        for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        if blocks(file.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_snippets_run(document, folder, tmp_path):
    found = blocks((ROOT / document).read_text(encoding="utf-8"))
    assert len(found) >= {"README.md": 1}.get(document, 8)
    code = "".join(text for _, text in found)
    for name in ("torch", "jax", "matplotlib"):
        if re.search(rf"\b{name}\b|\.plot\(" if name == "matplotlib" else rf"\b{name}\b", code):
            pytest.importorskip(name)
    shutil.copytree(folder / "shakespeare", tmp_path / "out/shakespeare")
    if "fovea.train(" not in code:
        shutil.copytree(folder / "reviews", tmp_path / "out/reviews")
    for name in ("recipe.toml", "new.csv"):
        shutil.copy(folder / name, tmp_path)
    lines = [""] * (found[-1][0] + found[-1][1].count("\n"))
    for begin, text in found:  # at their own lines, so that an error names the document's
        lines[begin - 1 : begin - 1 + text.count("\n")] = text.splitlines()
    (tmp_path / "snippets.py").write_text("\n".join(lines) + "\nprint('done')\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "snippets.py"], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, f"{document}: {done.stderr}"
    assert done.stdout.endswith("done\n")
    if "page.html" in code:
        assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")
