"""Memory grows with the tokens: the whole process, over lengths whose weights would not fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path(__file__).with_name("huge.py")
LONG = Path(__file__).parents[2] / "tools" / "bench_peers" / "long_attention.py"


@pytest.mark.skipif(not LONG.exists(), reason="the package's tests run without the repository")
def test_looking_inside_a_long_sequence_takes_little_memory():
    # The weights of 32k tokens take 4.3 GB; `make proofs` runs 128k. The interpreter with NumPy has 30 MB, the
    # arrays and results 5 · 8.4 MB and 3.5 MB, their drawing and the rows that are checked some more.
    done = subprocess.run(
        [sys.executable, str(LONG), "--length", "32768", "--causal", "--most", "250"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"32,768 tokens.*peak \d+ MB", done.stdout), done.stdout


@pytest.mark.skipif(not LONG.exists(), reason="the package's tests run without the repository")
def test_too_much_memory_is_noticed():
    done = subprocess.run([sys.executable, str(LONG), "--length", "1024", "--most", "1"], capture_output=True, text=True)
    assert done.returncode == 1 and "expected at most 1 MB" in done.stderr


@pytest.mark.skipif("FOVEA_HUGE" not in os.environ, reason="needs 18 GB and minutes; FOVEA_HUGE=1, or make proofs, runs it")
@pytest.mark.parametrize("call", ["forward", "backward", "decode"])
def test_more_than_2_to_the_31_elements(call):
    done = subprocess.run([sys.executable, str(HUGE), call], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{call}: 2,14" in done.stdout or "within 2,14" in done.stdout, done.stdout
