"""Every public name has a docstring that tells what it must, and the examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil
import sys

import public_names
import pytest

import fovea

# But for bindings, and modules that import PyTorch and JAX (test_torch.py and test_jax.py run those).
OTHERS = ("_fovea", "torch", "jax", "_jax")
MODULES = ["fovea"] + [f"fovea.{m.name}" for m in pkgutil.iter_modules(fovea.__path__) if m.name not in OTHERS]

SPOILT = '''"""A module."""

import enum

__all__ = ["Bare", "Held", "LIMIT", "Told", "TOLD", "Wrong", "add", "double", "half"]

LIMIT = 3
#: At most so many.
TOLD = 4


class Bare:
    def method(self): ...


class Told(Bare):
    """Numbers.

    Parameters
    ----------
    x : int
        The number.

    Raises
    ------
    ValueError
        No number.
    """

    mystery: int

    def __init__(self, x, y=0):
        self.x = x
        self.secret = y

    @property
    def size(self): ...

    def method(self):
        """Does nothing."""

    @classmethod
    def of(cls): ...


class Held:
    """A number. Made by :func:`add`."""

    def __init__(self, inner):
        self._inner = inner


class Wrong(ValueError): ...


def add(a, b):
    """Adds.

    Parameters
    ----------
    a : int
        One.
    """


def double(a): ...


def half(a):
    """A half.

    Parameters
    ----------
    a : int
        The whole.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        It is odd.
    """
'''


@pytest.fixture
def spoilt(tmp_path, monkeypatch):
    (tmp_path / "spoilt_names.py").write_text(SPOILT)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("spoilt_names")
    sys.modules.pop("spoilt_names")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("module", public_names.MODULES)
def test_every_public_name_is_documented(module):
    if module != "fovea":
        pytest.importorskip(module.partition(".")[2])
    names = public_names.names_of(importlib.import_module(module))
    found = {name.path: problems for name in names if (problems := public_names.problems_of(name))}
    assert found == {}
    assert len(names) >= {"fovea": 80}.get(module, 2)


def test_public_functions_have_examples():
    for module in ("fovea", "fovea.torch", "fovea.jax"):
        if module != "fovea":
            pytest.importorskip(module.partition(".")[2])
        for name in public_names.names_of(importlib.import_module(module)):
            if name.kind == "function" and name.path != "fovea.train":
                assert ">>>" in name.doc, name.path


def test_what_lacks_words_is_named(spoilt):
    found = {name.path: public_names.problems_of(name) for name in public_names.names_of(spoilt)}
    none = ["expected a docstring, found none"]
    assert {path.partition(".")[2]: problems for path, problems in found.items() if problems} == {
        "Bare": none,
        "Bare.method": none,
        "LIMIT": none,
        "Told": ["expected a word about the parameter y, found none"],
        "Told.mystery": none,
        "Told.of": none,
        "Told.secret": none,
        "Told.size": none,
        "Wrong": none,
        "add": [
            "expected a word about the parameter b, found none",
            "expected the section Returns, found none",
            "expected the section Raises, found none",
        ],
        "double": none,
    }
