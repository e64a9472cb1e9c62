"""Other interpreters and other processes: a subinterpreter is refused in words, and workers that were forked or
spawned compute what their parent does."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fovea

INTERPRETER = """
try:
    import _interpreters as interpreters
    new = lambda: interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    new = interpreters.create
code = '''
try:
    import fovea, numpy
    q = numpy.ones((1, 2, 3, 4), numpy.float32)
    print(fovea.attention(q, q, q, observe=["max"])[0].sum(), flush=True)
except ImportError as error:
    print(error, flush=True)
'''
"""
REFUSED = (
    "fovea expects the main interpreter of a process, got a subinterpreter: start a process instead (multiprocessing), or "
    "give a web server's application the main interpreter"
)


def lines_of(code):
    done = subprocess.run([sys.executable, "-c", INTERPRETER + code], capture_output=True, text=True, timeout=120)
    if "No module named" in done.stderr:
        pytest.skip("this Python has no module for interpreters")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_subinterpreters_are_refused_in_words():
    """Where the import went through, the first call waited for ever."""
    assert lines_of("interpreters.run_string(new(), code)\nexec(code)") == [REFUSED, "24.0"]
    assert lines_of("exec(code)\ninterpreters.run_string(new(), code)\nexec(code)") == ["24.0", REFUSED, "24.0"]


class Rows:
    """A data set whose rows attention makes."""

    def __len__(self):
        return 12

    def __getitem__(self, at):
        import torch

        x = torch.linspace(-1, 1, 2 * 70 * 16).reshape(1, 2, 70, 16) * (at + 1)
        out, seen = fovea.attention(x, x, x, causal=True, observe=["entropy"])
        return out[0], seen.entropy[0], fovea.get_num_threads()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_compute_the_same_bits(start):
    torch = pytest.importorskip("torch")
    rows = Rows()
    expected = [rows[at] for at in range(len(rows))]  # the parent's threads have worked before it forks
    loader = torch.utils.data.DataLoader(rows, batch_size=3, num_workers=2, multiprocessing_context=start, timeout=200)
    found = list(loader)
    assert len(found) == 4
    for at, (out, entropy, threads) in enumerate(found):
        for i in range(3):
            assert torch.equal(out[i], expected[3 * at + i][0]) and torch.equal(entropy[i], expected[3 * at + i][1])
        assert start == "spawn" or threads.tolist() == [1] * 3  # forked ones share the cores with their siblings


def test_a_forked_process_computes_the_same_bits():
    q = np.random.default_rng(0).normal(size=(1, 8, 300, 64)).astype(np.float32)
    expected = fovea.attention(q, q, q).tobytes()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fovea.set_num_threads(2)
            os.write(writer, b"same" if fovea.attention(q, q, q).tobytes() == expected else b"other")
        finally:
            os._exit(0)
    os.close(writer)
    found = os.read(reader, 10)
    os.waitpid(child, 0)
    assert found == b"same"
