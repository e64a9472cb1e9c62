"""Patterns and caches in copies and pickles, as models that hold them are copied and sent to other processes."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import normal

import fovea
from fovea import BlockMask

CAUSAL_ROWS = BlockMask.window(3, 3) & BlockMask.causal() | BlockMask.global_tokens(1)
RNG = np.random.default_rng(0)
Q, K, V = (normal(RNG, 2, 2, 10, 8) for _ in range(3))


def near(i, j):
    return abs(i - j) <= 1


KEPT = {
    "rotary": dict(rotary=fovea.Rotary("interleaved", width=4, base=500.0, scaling="linear", factor=2.0)),
    "override": dict(override=fovea.Override({0: "frozen", 1: "permuted"}, weights=np.ones(10), permutation=np.arange(10)[::-1])),
    "relative": dict(relative=fovea.Relative(np.linspace(-1, 1, 10).reshape(5, 2), "distances")),
    "bitmap": dict(blocks=BlockMask(np.tri(5, dtype=bool), block=(2, 2))),
    "combined": dict(blocks=CAUSAL_ROWS),
    "function": dict(blocks=BlockMask.from_function(near)),
    "documents": dict(blocks=BlockMask.documents([0] * 4 + [1] * 6)),
    "dilated": dict(blocks=BlockMask.dilated(4, 0, 2)),
    "longformer": dict(blocks=BlockMask.longformer(2, 1)),
    "big bird": dict(blocks=BlockMask.big_bird(2, 1, 1, 1, 7)),
    "sparse transformer": dict(blocks=BlockMask.sparse_transformer(3, "fixed")),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_do_the_same_and_live_alone(name, again):
    (keyword, x), *_ = KEPT[name].items()
    expected = fovea.attention(Q, K, V, **{keyword: x})
    made = pickle.loads(pickle.dumps(x))  # an original that can be dropped
    copied = again(made)
    del made
    assert fovea.attention(Q, K, V, **{keyword: copied}).tobytes() == expected.tobytes()
    assert repr(copied) == repr(x)


def test_a_pickle_means_the_same_in_another_process():
    text = pickle.dumps(dict(rotary=KEPT["rotary"]["rotary"], blocks=BlockMask.causal() | BlockMask.window(1, 1)))
    expected = fovea.attention(Q, K, V, **pickle.loads(text))
    code = (
        "import pickle, sys, numpy as np, fovea\n"
        "fovea.BlockMask.causal(), fovea.Override({0: 'off'}), fovea.Rotary()\n"  # take numbers of their own
        "text, arrays = pickle.load(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(fovea.attention(*arrays, **pickle.loads(text)).tobytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps((text, (Q, K, V))), capture_output=True, timeout=60)
    assert done.stdout == expected.tobytes(), done.stderr.decode()


def test_a_deep_copy_of_a_cache_is_a_fork():
    cache = fovea.KvCache(2, 8)
    cache.append(K[:1], V[:1])
    copied = copy.deepcopy({"layer": cache})["layer"]
    copied.append(K[1:], V[1:])
    assert (len(cache), len(copied)) == (10, 20)


def test_patterns_say_what_they_are():
    assert repr(CAUSAL_ROWS) == "((BlockMask.window(3, 3) & BlockMask.causal()) | BlockMask.global_tokens(1))"
    assert repr(BlockMask(np.ones((3, 2, 2), bool), block=(32, 64))) == "BlockMask([3, 2, 2] blocks of 32 × 64)"
