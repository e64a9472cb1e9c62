"""The scripts in examples/python run to their end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"


def run(name, *arguments):
    """In a process of its own, as people run it; PyTorch's waiting threads sleep, since tests run side by side."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_look_inside_pytorch(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: the example that changes its models does not run")
    pytest.importorskip("matplotlib")
    text = run("look_inside_pytorch.py", "150", str(tmp_path / "attention.png"))
    assert "replaced 2 attention layers" in text
    assert float(text.split("accuracy ")[1].split()[0]) > 0.9, text  # it learns; a constant answer gives 0.06
    assert text.count("strongest key is the named place") == 8
    assert (tmp_path / "attention.png").stat().st_size > 10_000
