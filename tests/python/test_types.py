"""What type checkers see: stubs that parse, a package without errors of its own, wrong calls found before they run."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fovea

USER = """
import numpy as np
import fovea

q = np.ones((1, 2, 3, 4), np.float32)
out = fovea.attention(q, q, q, causal=True, top_k=3, rotary=fovea.Rotary("half", base=5e5), observe=["max"])
grads: fovea.Gradients = fovea.attention_vjp(q, q, q, q, scale=0.5)
mask: fovea.BlockMask = fovea.BlockMask.causal() | fovea.BlockMask.window(3, 3)
threads: int = fovea.get_num_threads()
fovea.attention(q, q, q, blocks=3)  # wrong
fovea.attention(q, q, q, causal="yes")  # wrong
fovea.KvCache(2)  # wrong
fovea.set_num_threads("a")  # wrong
fovea.Override(["off"])  # wrong
"""


def test_the_stubs_parse_and_name_what_is_there():
    folder = Path(fovea.__file__).parent
    names = set()
    for stub in folder.rglob("*.pyi"):
        tree = ast.parse(stub.read_text())
        names |= {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for name in vars(fovea._fovea):
        if not name.startswith("_"):
            assert name in names, name


# Frameworks are let be: their types differ from one version to the next, and are not what is tested.
CONFIGURATION = """
[mypy]
ignore_missing_imports = True
follow_imports = silent
[mypy-torch.*,jax.*,matplotlib.*]
follow_imports = skip
"""


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: types are not checked")
def test_type_checkers_find_wrong_calls_and_nothing_else(tmp_path):
    user, configuration = tmp_path / "user.py", tmp_path / "mypy.ini"
    user.write_text(USER)
    configuration.write_text(CONFIGURATION)

    def errors(*what):  # not from the packages' own folder, where others would shadow the standard library's
        command = [sys.executable, "-m", "mypy", "--config-file", str(configuration), "--cache-dir", str(tmp_path), *what]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout

    text = errors("-p", "fovea")
    assert text.startswith("Success"), text
    text = errors(str(user))
    found = {int(line) for line in re.findall(r"user\.py:(\d+): error", text)}
    wrong = {number for number, line in enumerate(USER.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, text
