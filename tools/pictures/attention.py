#!/usr/bin/env python3
"""Draws the pictures of docs/attention.md and docs/python.md from calls of the engine, into docs/images.

    .venv/bin/python tools/pictures/attention.py [FOLDER]
"""
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fovea

LENGTH, WIDTH = 96, 32
HEADS = ("the token before", "the first token", "the same word", "no preference")


def four_heads():
    """q, k and v of four causal heads, each built to do one thing, over a text of twelve words."""
    rng = np.random.default_rng(7)
    words = rng.integers(0, 12, LENGTH)
    meaning = rng.normal(size=(12, WIDTH)).astype(np.float32)
    q, k = (0.3 * rng.normal(size=(2, 1, 4, LENGTH, WIDTH))).astype(np.float32)
    place = np.arange(LENGTH)[:, None] * 10.0 ** (-2 * np.arange(WIDTH // 2) / WIDTH)
    turns = np.concatenate([np.cos(place), np.sin(place)], -1)
    q[0, 0], k[0, 0] = 3 * np.roll(turns, 1, axis=0), 3 * turns  # a query looks for the place before its own
    q[0, 1, :, 0], k[0, 1, 0, 0] = 8, 4
    q[0, 2] += 1.6 * meaning[words]
    k[0, 2] += 1.6 * meaning[words]
    v = rng.normal(size=q.shape).astype(np.float32)
    return q, k, v


def inside(folder):
    q, k, v = four_heads()
    out, seen = fovea.attention(q, k, v, causal=True, observe=["entropy", "key_mass"])
    weights = seen.rows(range(LENGTH))[0]
    figure = Figure(figsize=(11, 6), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=(1.15, 1))
    for h, name in enumerate(HEADS):
        axes = figure.add_subplot(grid[0, h])
        axes.imshow(np.sqrt(weights[h]), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        axes.set(title=f"head {h}: {name}", xlabel="key")
        if h == 0:
            axes.set_ylabel("query")
    axes = figure.add_subplot(grid[1, :2])
    for h in range(4):
        axes.plot(seen.entropy[0, h], label=f"head {h}", linewidth=1.2)
    axes.plot(np.log(np.arange(1, LENGTH + 1)), "k:", linewidth=1, label="equal weights")
    axes.set(title='seen.entropy  (observe=["entropy"])', xlabel="query", ylabel="nats")
    axes.legend(fontsize="small", ncols=2, loc=(0.52, 0.5))
    axes = figure.add_subplot(grid[1, 2:])
    for h in range(4):
        axes.plot(seen.key_mass[0, h], label=f"head {h}", linewidth=1.2)
    axes.set(title='seen.key_mass  (observe=["key_mass"])', xlabel="key", ylabel="Σ of its weights", yscale="symlog")
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(folder / "attention-inside.png", dpi=90)


def seen_plot(folder):
    q, k, v = four_heads()
    out, seen = fovea.attention(q, k, v, causal=True, observe=["entropy", "key_mass"])
    seen.plot().savefig(folder / "seen-plot.png", dpi=80)


def patterns(folder):
    lengths = (20, 30, 46)
    ids = np.repeat(range(3), lengths)
    mask = fovea.BlockMask
    bitmap = np.random.default_rng(3).random((6, 6)) < 0.3
    cases = [
        ("causal()", mask.causal()),
        ("window(8, 0)", mask.window(8, 0)),
        ("dilated(24, 24, 4)", mask.dilated(24, 24, 4)),
        ("prefix(24)", mask.prefix(24)),
        ("documents(ids)", mask.documents(ids.tolist())),
        ("longformer(8, 4)", mask.longformer(8, 4)),
        ("big_bird(8, 1, 3, 2)", mask.big_bird(8, 1, 3, 2)),
        ("sparse_transformer(12)", mask.sparse_transformer(12)),
        ("sparse_transformer(12, 'fixed')", mask.sparse_transformer(12, "fixed")),
        ("BlockMask(bitmap, (16, 16))", mask(bitmap, (16, 16))),
    ]
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, (name, pattern) in zip(figure.subplots(2, 5).flat, cases):
        axes.imshow(pattern.dense(96, 96), cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest")
        axes.set_title(name, fontsize="small")
        axes.set(xticks=[], yticks=[])
    figure.savefig(folder / "block-masks.png", dpi=90)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "images")
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (inside, seen_plot, patterns):
        draw(folder)


if __name__ == "__main__":
    main()
