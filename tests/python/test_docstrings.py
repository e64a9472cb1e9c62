"""The examples in the docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import fovea

# But for bindings, and modules that import PyTorch and JAX (test_torch.py and test_jax.py run those).
OTHERS = ("_fovea", "torch", "jax", "_jax")
MODULES = ["fovea"] + [f"fovea.{m.name}" for m in pkgutil.iter_modules(fovea.__path__) if m.name not in OTHERS]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_functions_have_examples():
    for name in ("attention", "attention_vjp"):
        assert ">>>" in getattr(fovea, name).__doc__, name
