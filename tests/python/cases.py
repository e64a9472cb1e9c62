"""Seeded random calls: shapes at awkward sizes, and options in any combination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fovea._options import SCORES

import fovea

LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 130)
WIDTHS = (1, 3, 8, 16, 24, 33, 64)


@dataclass
class Case:
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    keywords: dict[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        default = 1 / np.sqrt(self.q.shape[-1]) if self.keywords.get("score", "scaled_dot") == "scaled_dot" else 1.0
        scale = self.keywords.get("scale")
        return default if scale is None else float(np.max(scale))


def normal(rng: np.random.Generator, *shape: int, dtype=np.float32) -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def random_case(seed: int, dtype=np.float32, longest: int = 130) -> Case:
    rng = np.random.default_rng(seed)
    lengths = [n for n in LENGTHS if n <= longest]
    batch, kv_heads, group = (int(x) for x in rng.integers(1, 4, size=3))
    lq, lk = (int(x) for x in rng.choice(lengths, size=2))
    if rng.random() < 0.3:
        lk = lq
    d, dv = (int(x) for x in rng.choice(WIDTHS, size=2))
    heads = kv_heads * group
    q = normal(rng, batch, heads, lq, d, dtype=dtype)
    k = normal(rng, batch, kv_heads, lk, d, dtype=dtype)
    v = normal(rng, batch, kv_heads, lk, dv, dtype=dtype)
    if rng.random() < 0.3:  # heads interleaved, as models hold them
        q, k, v = (np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for x in (q, k, v))
    return Case(q, k, v, random_keywords(rng, heads, lq, lk, batch))


def random_keywords(rng: np.random.Generator, heads: int, lq: int, lk: int, batch: int) -> dict[str, Any]:
    keywords: dict[str, Any] = {}
    if rng.random() < 0.4:
        keywords["score"] = str(rng.choice(SCORES))
    if rng.random() < 0.3:
        keywords["scale"] = float(rng.uniform(0.05, 0.5))
    if keywords.get("score", "scaled_dot") not in ("scaled_dot", "cosine") and "scale" not in keywords:
        keywords["scale"] = 0.2  # unscaled products of wide heads leave nothing to compare: one key takes all
    if rng.random() < 0.4:
        keywords["causal"] = True
    if rng.random() < 0.3:
        keywords["window"] = tuple(int(x) for x in rng.integers(-1, 40, size=2))
    if rng.random() < 0.3:
        keywords["alibi"] = rng.uniform(0, 0.5, size=heads).astype(np.float32)
    if rng.random() < 0.3:
        keywords["softcap"] = float(rng.uniform(0.5, 5))
    if rng.random() < 0.3:
        keywords["sinks"] = rng.normal(size=heads).astype(np.float32)
    elif rng.random() < 0.15:
        keywords["normalizer"] = "softmax1"
    shape = [(batch, heads, lq, lk), (heads, lq, lk), (batch, 1, 1, lk), (1, heads, lq, 1), (lq, lk)]
    if rng.random() < 0.3:
        keywords["bias"] = rng.normal(size=shape[rng.integers(5)]).astype(np.float32)
    if rng.random() < 0.3:
        keywords["mask"] = rng.random(size=shape[rng.integers(5)]) < 0.7
    if rng.random() < 0.15 and "scale" not in keywords:
        keywords["scale"] = rng.uniform(0.1, 0.3, size=heads).astype(np.float32)
    if rng.random() < 0.2:
        keywords["relative"] = random_relative(rng, heads)
    return keywords


def random_relative(rng: np.random.Generator, heads: int) -> fovea.Relative:
    both = bool(rng.integers(2))
    if rng.random() < 0.5:
        rows = int(rng.choice([1, 7, 33]))
        return fovea.Relative(rng.normal(size=(rows, heads)).astype(np.float32), "distances", bidirectional=both)
    rows = int(rng.choice([4, 8, 32]))
    return fovea.Relative(rng.normal(size=(rows, heads)).astype(np.float32), max_distance=50, bidirectional=both)
