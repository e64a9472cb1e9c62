"""Random calls of everything that takes arrays: right, wrong and odd arguments in any combination.

    .venv/bin/python tests/python/fuzz_calls.py [--calls N] [--seed S]

Each call ends in ValueError or TypeError, or in arrays of the right shape, finite where its numbers were. Anything
else is reported with the number that repeats it (`--seed S --calls 1`).
"""

import argparse
import sys
import time

import numpy as np

import fovea
from odd import odd_array, odd_shape, odd_value

REFUSALS = (ValueError, TypeError)
OBSERVERS = ["lse", "entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance", "first_key", "near:2,1",
             "block_mass", "key_sets"]  # fmt: skip


class Draw:
    """Arguments that mostly fit together, and sometimes do not."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        rng = self.rng
        self.odd = rng.random() < 0.5  # else all arguments fit
        self.packed = rng.random() < 0.3
        self.batch, self.kv_heads, group = (int(n) for n in rng.integers(1, 4, size=3))
        self.heads = self.kv_heads * group
        self.lq, self.lk = (int(n) for n in rng.choice([0, 1, 3, 8, 17, 40, 70], size=2))
        self.d, self.dv = (int(n) for n in rng.choice([1, 2, 4, 8, 16, 33], size=2))
        self.dtype = str(rng.choice(["float32"] * 5 + ["float64", "float16"]))
        names = ["entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance"]
        self.wishes = [str(x) for x in rng.choice(names, size=int(rng.integers(0, 3)), replace=False)]
        if self.packed:
            self.q_offsets, self.k_offsets = ([0, *np.sort(rng.integers(0, n + 1, 2)).tolist(), n] for n in (self.lq, self.lk))

    def maybe(self, chance=0.06):
        return self.odd and self.rng.random() < chance

    def array(self, *shape, dtype=None):
        if self.maybe():
            return odd_value(self.rng) if self.rng.random() < 0.3 else odd_array(self.rng, odd_shape(self.rng, shape))
        if dtype is bool:
            return self.rng.random(shape) < 0.7
        return self.rng.normal(size=shape).astype(self.dtype if dtype is None else dtype)

    def value(self, right):
        return odd_value(self.rng) if self.maybe() else right

    def qkv(self):
        rng = self.rng
        if self.packed:
            shapes = ((self.lq, self.heads, self.d), (self.lk, self.kv_heads, self.d), (self.lk, self.kv_heads, self.dv))
            return [self.array(*s) for s in shapes]
        shapes = [(self.batch, h, n, w) for h, n, w in ((self.heads, self.lq, self.d), (self.kv_heads, self.lk, self.d),
                                                        (self.kv_heads, self.lk, self.dv))]  # fmt: skip
        arrays = [self.array(*s) for s in shapes]
        if rng.random() < 0.2 and all(isinstance(x, np.ndarray) and x.ndim == 4 for x in arrays):
            arrays = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for x in arrays]
        return arrays

    def scores(self, dtype):
        sequences = 3 if self.packed else self.batch
        longest = [self.lq, self.lk]
        if self.packed:
            longest = [max(b - a for a, b in zip(o, o[1:])) for o in (self.q_offsets, self.k_offsets)]
        dims = [n if self.rng.random() < 0.6 else 1 for n in (sequences, self.heads, *longest)]
        return self.array(*dims[int(self.rng.integers(4)) :], dtype=dtype)

    def blocks(self):
        makers = [
            lambda: fovea.BlockMask.window(self.value(3), self.value(5)),
            lambda: fovea.BlockMask.causal() | fovea.BlockMask.global_tokens(self.value(2)),
            lambda: fovea.BlockMask.strided(self.value(4)) & fovea.BlockMask.dilated(9, 9, self.value(3)),
            lambda: fovea.BlockMask.random(16, self.value(2), self.value(7)),
            lambda: fovea.BlockMask(self.array(-(-self.lq // 16) or 1, -(-self.lk // 16) or 1, dtype=bool), (16, 16)),
            lambda: fovea.BlockMask.from_function(lambda i, j: (i + j) % 3 == 0),
            lambda: fovea.BlockMask.big_bird(8, 1, 3, self.value(1)),
        ]
        return makers[self.rng.integers(len(makers))]()

    def rotary(self):
        return fovea.Rotary(
            self.value(str(self.rng.choice(["half", "interleaved"]))),
            width=self.value(int(self.rng.choice([0, 0, 2, 4]))),
            scaling=self.value(str(self.rng.choice(["none", "linear", "ntk", "yarn"]))),
            factor=self.value(2.0),
        )

    def relative(self):
        kind = str(self.rng.choice(["buckets", "distances"]))
        table = self.array(int(self.rng.choice([5, 9, 33, 4])) if kind == "distances" else 8, self.heads)
        both = self.value(bool(self.rng.integers(2)))
        return fovea.Relative(table, self.value(kind), max_distance=self.value(20), bidirectional=both)

    def override(self):
        ways = self.rng.choice(["uniform", "off", "frozen", "permuted"], size=self.heads)
        chosen = {h: str(way) for h, way in enumerate(ways) if self.rng.random() < 0.6} or {0: "off"}
        heads = {h: self.value(way) for h, way in chosen.items()}
        weights = np.abs(self.rng.normal(size=(1, 1))) if "frozen" in chosen.values() else None
        order = None
        if "permuted" in chosen.values():
            lengths = [b - a for a, b in zip(self.k_offsets, self.k_offsets[1:])] if self.packed else [self.lk]
            order = np.concatenate([self.rng.permutation(n) for n in lengths])
        return fovea.Override(heads, weights=self.value(weights), permutation=self.value(order))

    def keywords(self):
        rng = self.rng
        choices = {
            "score": lambda: self.value(str(rng.choice(["scaled_dot", "dot", "cosine", "neg_sq_l2", "neg_sq_lorentz"]))),
            "normalizer": lambda: self.value(str(rng.choice(["softmax", "softmax1"]))),
            "scale": lambda: self.value(float(rng.uniform(0.05, 0.5)) if rng.random() < 0.7 else rng.random(self.heads)),
            "causal": lambda: self.value(bool(rng.integers(2))),
            "window": lambda: self.value(tuple(int(n) for n in rng.integers(-1, 20, 2))),
            "mask": lambda: self.scores(bool),
            "bias": lambda: self.scores(None),
            "blocks": self.blocks,
            "alibi": lambda: self.array(self.heads),
            "softcap": lambda: self.value(2.5),
            "sinks": lambda: self.array(self.heads),
            "top_k": lambda: self.value(int(rng.choice([rng.integers(1, 65), rng.integers(65, 300), 10**9]))),
            "dropout": lambda: self.value(0.25),
            "seed": lambda: self.value(int(rng.integers(2**40))),
            "relative": self.relative,
            "rotary": self.rotary,
            "override": self.override,
            "precision": lambda: self.value(str(rng.choice(["strict", "high", "fast"]))),
        }
        found = {name: make() for name, make in choices.items() if rng.random() < 0.12}
        if self.packed or self.maybe():
            found["q_offsets"] = self.value(self.q_offsets if self.packed else [0, 4])
            found["k_offsets"] = self.value(self.k_offsets if self.packed else [0, 4])
        return found

    def observed(self, names):
        wishes = self.value(names)
        return [] if wishes is None else wishes  # without there is an output alone

    def observe(self):
        return [str(x) for x in self.rng.choice(OBSERVERS, size=int(self.rng.integers(0, 4)), replace=False)]


def check(result, q, v, tame):
    out = result[0] if isinstance(result, tuple) else result
    assert out.shape == (*q.shape[:-1], v.shape[-1]) and out.dtype == q.dtype.newbyteorder("="), (out.shape, out.dtype)
    assert not tame or np.isfinite(out.astype(np.float64)).all()


def attend(draw):
    q, k, v = draw.qkv()
    keywords = draw.keywords()
    tame = not draw.odd
    what = draw.rng.integers(4)
    if what == 0:
        dout = draw.array(*np.shape(q)[:-1], np.shape(v)[-1]) if np.ndim(q) and np.ndim(v) else draw.array(1)
        grads = fovea.attention_vjp(q, k, v, dout, **keywords)
        assert grads.dq.shape == q.shape and grads.dk.shape == k.shape and grads.dv.shape == v.shape
        assert not tame or all(np.isfinite(np.asarray(x, np.float64)).all() for x in vars(grads).values())
        return
    if what == 1:
        check(fovea.attention(q, k, v, **keywords), q, v, tame)
        return
    wishes = draw.observe()
    if "key_sets" in wishes or draw.maybe():
        keywords["key_sets"] = draw.value(draw.rng.integers(-1, 5, size=draw.lk))
    out, seen = fovea.attention(q, k, v, **keywords, observe=draw.observed(wishes))
    check(out, q, v, tame)
    assert seen.lse.shape == q.shape[:-1]
    queries = draw.value([0, -1])
    rows = seen.rows(queries)
    assert len(rows) == len(queries) if isinstance(rows, list) else rows.shape[2] == len(queries)
    if what == 2:
        guess = seen.sampled_key_mass(draw.value(4), draw.value(0))
        assert guess.mass.shape == guess.standard_error.shape


DECODES = ("score", "normalizer", "scale", "window", "alibi", "relative", "softcap", "sinks")


def decode(draw):
    rng = draw.rng
    caches = []
    for _ in range(draw.value(1 if draw.packed else draw.batch) if rng.random() < 0.5 else draw.batch):
        cache = fovea.KvCache(
            draw.value(draw.kv_heads), draw.value(draw.d), draw.value(draw.dv), block=draw.value(16),
            dtype=draw.value(str(rng.choice(["float32", "bfloat16", "float16", "int8"]))), window=draw.value(0),
        )  # fmt: skip
        for _ in range(int(rng.integers(1, 3))):
            tokens = int(rng.integers(0, 40))
            cache.append(draw.array(tokens, draw.kv_heads, draw.d), draw.array(tokens, draw.kv_heads, draw.dv))
        if rng.random() < 0.1:
            cache.evict(draw.value(len(cache) // 2))
        caches.append(cache.fork() if rng.random() < 0.3 else cache)
    q = draw.array(draw.batch, draw.heads, int(rng.integers(0, 5)), draw.d)
    keywords = {name: x for name, x in draw.keywords().items() if name in DECODES}
    out, seen = fovea.attention_decode(q, draw.value(caches), **keywords, observe=draw.observed(draw.observe()))
    assert out.shape == (*q.shape[:-1], draw.dv) and out.dtype == q.dtype.newbyteorder("=") and seen.lse.shape == q.shape[:-1]
    queries = draw.value([0] if q.shape[2] else [])
    assert len(seen.rows(queries)) == (len(q) if q.ndim == 4 else len(queries))


def merge(draw):
    q, *_ = draw.qkv()
    parts = []
    for _ in range(int(draw.rng.integers(0, 4))):
        _, k, v = draw.qkv()
        offsets = {n: x for n, x in draw.keywords().items() if n.endswith("offsets")}
        parts.append(fovea.attention(q, k, v, **offsets, observe=draw.observed(draw.wishes)))
    out, seen = fovea.merge(draw.value(parts), sinks=draw.value(None if draw.rng.random() < 0.5 else [0.0] * draw.heads))
    assert out.shape[:-1] == seen.lse.shape == q.shape[:-1]
    rows = seen.rows(draw.value([0]))
    assert isinstance(rows, list) or rows.shape[:2] == q.shape[:2]


def one_call(seed):
    """Whether the call was made (and not refused)."""
    draw = Draw(seed)
    try:
        [decode, merge, attend][int(np.searchsorted([0.15, 0.25], draw.rng.random()))](draw)
    except REFUSALS as error:
        assert not isinstance(error, ValueError) or "expected" in str(error), error
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first call")
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    fovea.set_num_threads(1)
    start, made = time.perf_counter(), 0
    for seed in range(arguments.seed, arguments.seed + arguments.calls):
        try:
            made += one_call(seed)
        except BaseException:
            print(f"call {seed}: neither refused nor right", file=sys.stderr)
            raise
    seconds = time.perf_counter() - start
    print(f"{arguments.calls:,} calls in {seconds:.0f} s: {made:,} made, {arguments.calls - made:,} refused")


if __name__ == "__main__":
    main()
