#!/usr/bin/env python3
"""Looks inside attention over 128k tokens, and says how long it took and what memory it needed at most.

    .venv/bin/python tools/bench_peers/long_attention.py [--length N] [--causal] [--most MB]

One head of width 64, float32, with the entropy, the eight strongest keys and the mass of every key. Checks what was
seen against exact rows of some queries, and exits with 1 if the process ever held more than `--most` (default 2,000 MB);
the weights themselves would take 4·N² bytes.
"""
import argparse
import sys
import time

import numpy as np

import fovea


def peak_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=131_072)
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--most", type=float, default=2000.0, help="megabytes")
    arguments = parser.parse_args()
    length = arguments.length
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 1, length, 64), dtype=np.float32) for _ in range(3))
    before = peak_megabytes()
    start = time.perf_counter()
    out, seen = fovea.attention(q, k, v, causal=arguments.causal, observe=["entropy", "top_k:8", "key_mass"])
    seconds = time.perf_counter() - start
    queries = [0, length // 3, length - 1]
    weights = seen.rows(queries)[0, 0].astype(np.float64)
    np.testing.assert_allclose(weights @ v[0, 0], out[0, 0, queries], rtol=0, atol=1e-5)
    np.testing.assert_allclose(-np.sort(-weights)[:, :8], seen.top_k.weights[0, 0, queries], rtol=1e-4)
    surprise = -np.log(np.where(weights > 0, weights, 1))
    np.testing.assert_allclose((weights * surprise).sum(-1), seen.entropy[0, 0, queries], rtol=1e-3, atol=1e-5)
    # A sum over all queries of numbers that each are off by a few rounding errors.
    np.testing.assert_allclose(seen.key_mass.sum(dtype=np.float64), length, rtol=1e-4)
    peak = peak_megabytes()
    print(f"{length:,} tokens, one head, D 64, float32{', causal' if arguments.causal else ''}: output, entropy, top 8 and "
          f"key mass in {seconds:.1f} s with {fovea.get_num_threads()} threads; peak {peak:,.0f} MB, of which {before:,.0f} MB "
          f"interpreter and arrays given; the weights would take {4e-9 * length**2:,.1f} GB")
    if peak > arguments.most:
        sys.exit(f"expected at most {arguments.most:,.0f} MB, found {peak:,.0f}")


if __name__ == "__main__":
    main()
