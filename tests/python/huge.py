"""Calls whose arrays hold more than 2^31 elements: no index of the engine is 32 bits wide.

    .venv/bin/python tests/python/huge.py [forward] [backward] [decode]

Without a name, all three, one after the other; at most 18 GB, and tens of seconds each. Rows at both ends, and where the 2^31st byte, element and
their neighbours lie, are compared with float64: a wrapped index would read other numbers.
"""

import sys
import time

import ml_dtypes
import numpy as np

import fovea

HEADS, WIDTH = 16, 64
TOKENS = 2**31 // (HEADS * WIDTH) + 1000
NEAR = 2**31 // (HEADS * WIDTH)  # the token whose first element is the 2^31st
PLACES = [0, 1, NEAR // 2 - 1, NEAR // 2 + 1, NEAR - 1, NEAR + 1, TOKENS - 1]
WINDOW = 15
UNIT = 2.0**-8  # half a unit in the last of bf16's places, relative


def numbers(*shape):
    """bfloat16 between 0.5 and 2, of either sign; repeats after a prime number of elements."""
    period = 1_000_003
    few = np.random.default_rng(1).integers(0, 2**16, size=period, dtype=np.uint16) & 0x80FF | 0x3F00
    bits = np.empty(shape, np.uint16)
    flat = bits.reshape(-1)
    for begin in range(0, flat.size, period):
        flat[begin : begin + period] = few[: flat.size - begin]
    return bits.view(ml_dtypes.bfloat16)


def weights_of(x, token):
    """In float64: the keys that the token's query sees, and [H, keys] weights."""
    keys = np.arange(max(0, token - WINDOW), token + 1)
    near = x[keys].astype(np.float64)
    s = np.einsum("hd,khd->hk", x[token].astype(np.float64), near) / np.sqrt(WIDTH)
    e = np.exp(s - s.max(-1, keepdims=True))
    return near, e / e.sum(-1, keepdims=True)


def forward():
    x = numbers(TOKENS, HEADS, WIDTH)
    out, seen = fovea.attention(x, x, x, window=(WINDOW, 0), observe=["max"])
    for token in PLACES:
        near, w = weights_of(x, token)
        # Weights are rounded to bf16, so is the result: two units of the largest value, 2.
        np.testing.assert_allclose(out[token].astype(np.float64), np.einsum("hk,khd->hd", w, near), rtol=0, atol=4 * UNIT)
        np.testing.assert_allclose(seen.max[token], w.max(-1), rtol=1e-4)
    return f"{x.size:,} elements in each of q, k, v and the output"


def backward():
    """Many queries on few keys; q and dout are half of the columns of an array, so that their strides span it."""
    width = WIDTH // 2
    x = numbers(TOKENS, HEADS, WIDTH)[..., :width]
    keys = x[:64].copy()
    grads = fovea.attention_vjp(x, keys, keys, x)  # dout is q
    near = keys.astype(np.float64)
    for token in PLACES:
        own = x[token].astype(np.float64)
        s = np.einsum("hd,khd->hk", own, near) / np.sqrt(width)
        w = np.exp(s - s.max(-1, keepdims=True))
        w /= w.sum(-1, keepdims=True)
        dp = np.einsum("hd,khd->hk", own, near)
        ds = w * (dp - (w * dp).sum(-1, keepdims=True))
        dq = np.einsum("hk,khd->hd", ds, near) / np.sqrt(width)
        # dS and the result are rounded to bf16, out before δ is taken: units of Σ|dS|·2 and of |dout|·|out|·w.
        bound = 4 * UNIT * (np.abs(ds).sum() * 2 + 4 * width) / np.sqrt(width)
        np.testing.assert_allclose(grads.dq[token].astype(np.float64), dq, rtol=0, atol=bound)
    # The weights of a query sum to one: over the keys, dv sums to dout, each key's rounded to bf16.
    total = sum(x[i : i + 2**17].astype(np.float64).sum(0) for i in range(0, TOKENS, 2**17))
    dv = grads.dv.astype(np.float64)
    np.testing.assert_allclose(dv.sum(0), total, rtol=0, atol=64 * 4 * UNIT * np.abs(dv).max())
    return f"q and dout within {2 * x.size:,} elements, {x.size:,} in each of out and dq"


def decode():
    """One query on a cache of int8: attention over all keys, compared with float64 on the keys as the cache rounds them."""
    width, step = 512, 2**16
    tokens = 2**31 // width + 1000
    few = numbers(step, 1, width).astype(np.float32)
    cache = fovea.KvCache(1, width, dtype="int8", block=4096)
    for begin in range(0, tokens, step):
        cache.append(few[: tokens - begin], few[: tokens - begin])
    q = few[:1] / 8
    out, seen = fovea.attention_decode(q, cache, observe=["max"])
    scale = np.abs(few).max(-1, keepdims=True) / 127
    kept = (np.round(few / scale) * scale)[:, 0].astype(np.float64)
    s = kept @ q[0, 0].astype(np.float64) / np.sqrt(width)
    times = np.full(step, tokens // step) + (np.arange(step) < tokens % step)  # how often each key stands in the cache
    e = np.exp(s - s.max()) * times
    # Sums of 4 million weights in parts: relative to values of at most 2, a few thousand roundings of 2^-24.
    np.testing.assert_allclose(out[0, 0], e @ kept / e.sum(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(seen.lse[0, 0], s.max() + np.log(e.sum()), rtol=1e-5)
    return f"{tokens * width:,} elements in each of k and v, {cache.nbytes / 1e9:.1f} GB"


def peak_gigabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e6


def main():
    for name in sys.argv[1:] or ("forward", "backward", "decode"):
        start = time.perf_counter()
        what = {"forward": forward, "backward": backward, "decode": decode}[name]()
        print(f"{name}: {what}: right, {time.perf_counter() - start:.0f} s, peak so far {peak_gigabytes():.1f} GB", flush=True)


if __name__ == "__main__":
    main()
