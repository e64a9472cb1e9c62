"""Every keyword together with every other: the float32 and 16-bit kernels against the float64 call, which is computed by
the plain definition. Output, lse, what was seen, and gradients; observers never change a bit."""

import numpy as np
import pytest
import reference
from cases import normal, random_relative

import fovea

LENGTHS = (0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 200)
STATISTICS = ("entropy", "max", "key_mass", "effective_keys", "distance", "first_key_mass", "near_mass", "set_mass")
OBSERVERS = ("entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance", "first_key", "near:5,2", "block_mass")


def pattern(rng):
    i, j = (int(x) for x in rng.integers(-1, 40, size=2))
    makers = [
        lambda: fovea.BlockMask.window(i, j),
        lambda: fovea.BlockMask.dilated(i, j, 3),
        lambda: fovea.BlockMask.global_tokens(max(0, i)),
        lambda: fovea.BlockMask.random(16, 2, seed=max(0, j)),
        lambda: fovea.BlockMask.prefix(max(0, i)),
    ]
    a, b = (makers[n]() for n in rng.integers(len(makers), size=2))
    return a | b if rng.random() < 0.7 else a & b


def arrays(rng):
    """q, k, v in float64 with float32's numbers, and the offsets if they are packed."""
    count, kv_heads, group = (int(x) for x in rng.integers(1, 4, size=3))
    heads = kv_heads * group
    d, dv = (int(x) for x in rng.choice([3, 8, 16, 33, 64, 128], size=2))
    lq, lk = (rng.choice(LENGTHS, size=count) for _ in range(2))
    if rng.random() < 0.5:
        offsets = dict(q_offsets=np.cumsum([0, *lq]), k_offsets=np.cumsum([0, *lk]))
        shapes = (lq.sum(), heads, d), (lk.sum(), kv_heads, d), (lk.sum(), kv_heads, dv)
    else:
        offsets, lq, lk = {}, np.full(count, lq[0]), np.full(count, lk[0])
        shapes = (count, heads, lq[0], d), (count, kv_heads, lk[0], d), (count, kv_heads, lk[0], dv)
    sizes = (count, heads, int(lq.max()), int(lk.max()))
    return [normal(rng, *shape).astype(np.float64) for shape in shapes], offsets, sizes, int(lk.sum())


def keywords(rng, sizes, keys, width, seed):
    count, heads, lq, lk = sizes
    some = lambda p: rng.random() < p  # noqa: E731
    real = lambda x: np.asarray(x, np.float32).astype(np.float64)  # noqa: E731
    found = dict(causal=bool(some(0.4)))
    if some(0.3):
        found.update(score=str(rng.choice(["dot", "cosine", "neg_sq_l2"])), scale=0.2)
    elif some(0.2):
        found["scale"] = real(rng.uniform(0.1, 0.3, heads))
    if some(0.25):
        found["window"] = tuple(int(x) for x in rng.integers(-1, 40, size=2))
    if some(0.3):
        found["blocks"] = pattern(rng)
    if some(0.3):
        found["alibi"] = real(rng.uniform(0, 0.5, heads))
    if some(0.3):
        found["sinks"] = real(rng.normal(size=heads))
    elif some(0.2):
        found["normalizer"] = "softmax1"
    shapes = [(count, heads, lq, lk), (heads, lq, lk), (count, 1, 1, lk), (lq, lk), (1, heads, lq, 1)]
    if some(0.25):
        found["bias"] = real(rng.normal(size=shapes[rng.integers(5)]))
    if some(0.25):
        found["mask"] = rng.random(shapes[rng.integers(5)]) < 0.7
    if some(0.2):
        found["relative"] = random_relative(rng, heads)
    if some(0.2):
        found["rotary"] = fovea.Rotary(width=width // 2 * 2, scaling=str(rng.choice(["none", "yarn"])), factor=2.0)
    if some(0.2):
        found.update(dropout=0.25, seed=seed)
    if some(0.15):
        found["override"] = fovea.Override({0: "uniform", heads - 1: "off"})
    elif some(0.15) and not {"score", "rotary"} & set(found):  # with these scores are equal, or rounded: others are chosen
        found["top_k"] = int(rng.integers(1, 20))
    elif some(0.3):
        found["softcap"] = float(rng.uniform(0.5, 5))
    if some(0.3):
        found["key_sets"] = rng.integers(-1, 5, size=keys) if keys != lk * count else rng.integers(-1, 5, size=(count, lk))
    return found


def narrow(x, dtype):
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


def near(got, want, bound, what):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, what
    assert ((got == want) | (np.abs(got - want) <= bound * np.maximum(1, np.abs(want)))).all(), what


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # inf - inf, where both are it
@pytest.mark.parametrize("dtype, eps", [(np.float32, reference.EPS32), (np.float16, 2.0**-11)])
@pytest.mark.parametrize("block", range(10))
def test_combinations_equal_the_float64_call(block, dtype, eps):
    for seed in range(9000 + block * 50, 9000 + block * 50 + 50):
        rng = np.random.default_rng(seed)
        (q, k, v), offsets, sizes, keys = arrays(rng)
        given = keywords(rng, sizes, keys, q.shape[-1], seed)
        observe = [name for name in OBSERVERS if rng.random() < 0.4] + (["key_sets"] if "key_sets" in given else [])
        what = f"seed {seed}: {q.shape} {k.shape} {v.shape} {sorted(given)}"
        q, k, v = (x.astype(dtype).astype(np.float64) for x in (q, k, v))
        # A score's error: D products rounded in float32, at most |q|·|k| (or |q − k|²), which exp makes a relative
        # error of a weight; 16-bit kernels round results once more.
        norms = [np.linalg.norm(x, axis=-1).max(initial=0) for x in (q, k)]
        bound = (q.shape[-1] + 8) * reference.EPS32 * (1 + 0.2 * (norms[0] + norms[1]) ** 2) + 4 * eps
        small = {name: narrow(x, np.float32) for name, x in given.items()}
        out, seen = fovea.attention(*(x.astype(dtype) for x in (q, k, v)), **offsets, **small, observe=observe)
        exact, inside = fovea.attention(q, k, v, **offsets, **given, observe=[*observe, "max"])
        beside_a_sink = np.asarray(inside.max) < 2.0**-80  # keys that share nearly nothing: counted as none
        near(out, exact, bound * max(1, np.abs(v).max(initial=0)) * 2, f"out, {what}")
        near(seen.lse, inside.lse, bound, f"lse, {what}")
        for name in STATISTICS:
            if name in dir(seen):
                # Sums over up to 200 keys or queries, of distances up to 200.
                got, want = getattr(seen, name), getattr(inside, name)
                if name == "effective_keys":
                    assert np.isfinite(got).all(), what
                    got, want = (np.where(beside_a_sink, 0, x) for x in (got, want))
                near(got, want, bound * 50, f"{name}, {what}")
        if not observe or "key_sets" not in given:
            alone = fovea.attention(*(x.astype(dtype) for x in (q, k, v)), **offsets, **small)
            assert alone.tobytes() == out.tobytes(), f"observers, {what}"
        small.pop("key_sets", None), given.pop("key_sets", None)
        if "override" in given:  # which forbids gradients of these
            for name in ("alibi", "sinks", "scale", "bias", "relative"):
                if not isinstance(given.get(name), float):
                    small.pop(name, None), given.pop(name, None)
        dout = normal(rng, *out.shape).astype(dtype)
        grads = fovea.attention_vjp(*(x.astype(dtype) for x in (q, k, v)), dout, **offsets, **small)
        wanted = fovea.attention_vjp(q, k, v, dout.astype(np.float64), **offsets, **given)
        assert vars(grads).keys() == vars(wanted).keys(), what
        for name, want in vars(wanted).items():
            size = max(1.0, np.abs(want).max(initial=0))
            # dS = P∘(dP − δ): the error of P times dP, summed over up to 200 queries or keys, at random signs.
            near(getattr(grads, name) / size, want / size, bound * 40, f"{name}, {what}")
