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

# What each kind of array gives. PyTorch and JAX are a class each here, so that their versions do not matter.
FRAMEWORKS = {"torch": "class Tensor: ...", "jax": "class Array: ..."}
KINDS = """
import jax
import numpy as np
import torch
import fovea
import fovea.jax

n = np.ones((1, 2, 3, 4), np.float32)
t = torch.Tensor()
j = jax.Array()
cache = fovea.KvCache(2, 4)
reveal_type(fovea.attention(n, n, n, causal=True))  # ndarray
reveal_type(fovea.attention(t, t, t, scale=t, bias=t))  # Tensor
reveal_type(fovea.attention(j, j, j))  # Array
reveal_type(fovea.attention(n, n, n, observe=["max"]))  # tuple[ndarray, Insight[ndarray]]
reveal_type(fovea.attention(t, t, t, observe=[], seed=t))  # tuple[Tensor, Insight[Tensor]]
reveal_type(fovea.attention(j, j, j, observe=("max",)))  # tuple[Array, Insight[Array]]
reveal_type(fovea.attention(t, t, t, observe=["max"])[1].max)  # Tensor
reveal_type(fovea.attention(t, t, t, observe=["max"])[1].top_k)  # tuple[Any, Any, fallback=TopK]
reveal_type(fovea.attention_vjp(t, t, t, t, sinks=[0.0]).dsinks)  # Tensor
reveal_type(fovea.attention_vjp(j, j, j, j))  # Gradients[Array]
reveal_type(fovea.attention_decode(t, cache))  # Tensor
reveal_type(fovea.attention_decode(n, [cache], observe=["max"]))  # tuple[ndarray, Insight[ndarray]]
reveal_type(fovea.merge([fovea.attention(t, t, t, observe=[])]))  # tuple[Tensor, Insight[Tensor]]
reveal_type(fovea.jax.attention(j, j, j))  # Array
fovea.attention(n, t, n)  # wrong
fovea.attention([1], [1], [1])  # wrong
fovea.attention(n, n, n, score="scaled")  # wrong
fovea.attention(n, n, n, cuasal=True)  # wrong
fovea.attention(n, n, n, observe=3)  # wrong
fovea.attention(n, n, n, observe=["max"]).shape  # wrong
fovea.attention_vjp(n, n, n, n, observe=["max"])  # wrong
fovea.attention_vjp(n, n, n, n).dbais  # wrong
fovea.attention_decode(n, n)  # wrong
fovea.attention_decode(n, cache, mask=n)  # wrong
fovea.attention(n, n, n, observe=[])[1].entorpy  # wrong
fovea.jax.attention(n, n, n)  # wrong
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
    assert_errors(errors(str(user)), USER)


def assert_errors(text, code):
    found = {int(line) for line in re.findall(r"user\.py:(\d+): error", text)}
    wrong = {number for number, line in enumerate(code.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, text


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: types are not checked")
def test_type_checkers_know_what_each_kind_of_array_gives(tmp_path):
    for name, text in FRAMEWORKS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.pyi").write_text(text)
    (tmp_path / "user.py").write_text(KINDS)
    (tmp_path / "mypy.ini").write_text("[mypy]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    text = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    assert_errors(text, KINDS)
    revealed = dict(re.findall(r'user\.py:(\d+): note: Revealed type is "(.*)"', text))
    for number, line in enumerate(KINDS.splitlines(), 1):
        if line.startswith("reveal_type"):
            short = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", revealed[str(number)])
            assert re.sub(r"ndarray\[Any, Any\]", "ndarray", short) == line.split("  # ")[1], (line, short)
