"""tools/docs/python_reference.py fails on what a reader would miss."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/docs/python_reference.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="the tests stand alone, without the repository's tools")

GOOD = '''"""A module."""

__all__ = ["Whole", "half"]


class Whole:
    """A number. Made by :func:`half`.

    Attributes
    ----------
    value : int ``[N]``
        Its |x| value.
    """

    def __init__(self, value):
        self.value = value

    @property
    def size(self):
        """The number of its digits."""


def half(x):
    """A half.

    Parameters
    ----------
    x : int
        The whole.

    Returns
    -------
    Whole

    Raises
    ------
    ValueError
        It is odd.
    """
'''


def written(folder, *modules):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(TOOL), "--out", str(folder / "out"), *modules],
        capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    if "expected Sphinx" in done.stderr:
        pytest.skip("no Sphinx here; tools/setup.sh docs")
    return done


def run(text, folder):
    (folder / "shown_names.py").write_text(text, encoding="utf-8")
    return written(folder, "shown_names")


def test_the_package_has_its_reference(tmp_path):
    done = written(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "KvCache.append" in (tmp_path / "out/fovea.KvCache.html").read_text(encoding="utf-8")


def test_a_name_without_a_docstring_fails(tmp_path):
    done = run(GOOD.replace('"""The number of its digits."""', "..."), tmp_path)
    assert done.returncode == 1
    assert done.stderr == "docs: shown_names.Whole.size: expected a docstring, found none\n"


def test_a_broken_reference_fails_and_a_whole_one_does_not(tmp_path):
    done = run(GOOD.replace(":func:`half`", ":func:`third`"), tmp_path)
    assert done.returncode == 1
    assert "reference target not found: third" in done.stderr
    done = run(GOOD, tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/shown_names.Whole.html").read_text(encoding="utf-8")
    assert "Its |x| value." in page and 'id="shown_names.Whole.size"' in page and "(value)" not in page
    assert "shown_names.half.html" in (tmp_path / "out/index.html").read_text(encoding="utf-8")
