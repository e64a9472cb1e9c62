"""Other interpreters and other processes: a subinterpreter is refused in words, and workers that were forked or
spawned compute what their parent does."""

import subprocess
import sys

import pytest

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


# In processes of their own: what else the tests have loaded, JAX for one, may not be forked.
WORKERS = """
import sys
import fovea
import torch

class Rows:  # a data set whose rows attention makes
    def __len__(self):
        return 12

    def __getitem__(self, at):
        x = torch.linspace(-1, 1, 2 * 70 * 16).reshape(1, 2, 70, 16) * (at + 1)
        out, seen = fovea.attention(x, x, x, causal=True, observe=["entropy"])
        return out[0], seen.entropy[0], fovea.get_num_threads()

if __name__ == "__main__":
    rows, start = Rows(), sys.argv[1]
    expected = [rows[at] for at in range(len(rows))]  # the parent's threads have worked before it forks
    loader = torch.utils.data.DataLoader(rows, batch_size=3, num_workers=2, multiprocessing_context=start, timeout=200)
    for at, (out, entropy, threads) in enumerate(loader):
        for i in range(3):
            same = torch.equal(out[i], expected[3 * at + i][0]) and torch.equal(entropy[i], expected[3 * at + i][1])
            print("same" if same else "other", *(threads[i].tolist(),) if start == "fork" else ())
"""

FORKED = """
import os
import numpy as np
import fovea

q = np.random.default_rng(0).normal(size=(1, 8, 300, 64)).astype(np.float32)
expected = fovea.attention(q, q, q).tobytes()
child = os.fork()
if child == 0:
    begun = fovea.get_num_threads()
    fovea.set_num_threads(2)
    print("same" if fovea.attention(q, q, q).tobytes() == expected else "other", begun, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def script(folder, text, *arguments):
    (folder / "script.py").write_text(text)
    command = [sys.executable, str(folder / "script.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_compute_the_same_bits(start, tmp_path):
    pytest.importorskip("torch")
    # Forked workers begin with one thread, since they share the cores with their siblings.
    assert script(tmp_path, WORKERS, start) == ["same 1" if start == "fork" else "same"] * 12


def test_a_forked_process_computes_the_same_bits(tmp_path):
    assert script(tmp_path, FORKED) == ["same 1"]
