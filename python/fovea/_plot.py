"""Pictures of what was seen."""

from __future__ import annotations

from typing import Any

import numpy as np


def plot(call: Any, seen: dict[str, np.ndarray], batch: int, head: int | None, max_size: int) -> Any:
    try:
        from matplotlib.colors import PowerNorm
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ImportError("Insight.plot draws with matplotlib: pip install matplotlib") from error
    heads = call.q_shape[1]
    q_rows = slice(call.q_offsets[batch], call.q_offsets[batch + 1])
    k_rows = slice(call.k_offsets[batch], call.k_offsets[batch + 1])
    length = q_rows.stop - q_rows.start
    chosen = np.unique(np.linspace(0, max(0, length - 1), min(length, max_size)).astype(np.int64))
    weights = call.token_rows([q_rows.start + int(i) for i in chosen])  # [n][H, Lk]

    panels = 1 + ("entropy" in seen) + ("key_mass" in seen)
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    keys = k_rows.stop - k_rows.start
    picture = np.stack([w.mean(axis=0) if head is None else w[head] for w in weights]) if weights else np.zeros((1, 1))
    extent = (-0.5, max(keys, 1) - 0.5, max(length, 1) - 0.5, -0.5)
    # The root of a weight is its colour: a causal map's first rows, near 1, would else leave the others dark.
    shade = PowerNorm(0.5, vmin=0, vmax=max(float(np.nanmax(picture, initial=0)), 1e-9))
    image = axes[0].imshow(picture, aspect="auto", cmap="viridis", norm=shade, extent=extent, interpolation="nearest")
    for axis in (axes[0].xaxis, axes[0].yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=axes[0], label="weight")
    axes[0].set(xlabel="key", ylabel="query", title="mean over heads" if head is None else f"head {head}")

    shown_heads = range(heads) if head is None else [head]
    at = 1
    if "entropy" in seen:
        entropy = seen["entropy"][q_rows]
        axes[at].boxplot([entropy[:, h] for h in shown_heads], tick_labels=[str(h) for h in shown_heads])
        axes[at].set(xlabel="head", ylabel="entropy (nats)", title="entropy of the queries' weights")
        at += 1
    if "key_mass" in seen:
        mass = seen["key_mass"][k_rows]
        for h in shown_heads:
            axes[at].plot(mass[:, h], label=f"head {h}", linewidth=1)
        axes[at].set(xlabel="key", ylabel="Σ weight", title="mass that each key received")
        if heads <= 12:
            axes[at].legend(fontsize="small")
    return figure
