"""What attention is, in float64 NumPy: the plain definition, and the ONNX operator's. Includes nothing of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPS32 = float(np.finfo(np.float32).eps)


@dataclass
class Reference:
    out: np.ndarray
    lse: np.ndarray  # [B, H, Lq]
    weights: np.ndarray  # [B, H, Lq, Lk], before dropout
    scores: np.ndarray  # before the mask; how large they are sets the tolerance


def places(lq: int, lk: int) -> tuple[np.ndarray, np.ndarray]:
    """Query places i' aligned to the end, and key places j, ready to broadcast."""
    return np.arange(lq)[:, None] + (lk - lq), np.arange(lk)[None, :]


def attention(
    q, k, v, *, score="scaled_dot", scale=None, causal=False, window=None, alibi=None, softcap=None, sinks=None,
    mask=None, bias=None, normalizer="softmax", relative=None, keep=None,
) -> Reference:
    """[B, H, L, D] in any float type; `keep` [B, H, Lq, Lk] multiplies the weights (dropout, already scaled)."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    lq, lk = q.shape[2], k.shape[2]
    if score == "cosine":
        q, k = unit(q), unit(k)
    if score in ("neg_sq_l2", "neg_sq_lorentz"):
        s = -((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(-1)
    else:
        s = np.einsum("bhid,bhjd->bhij", q, k)
    if score == "neg_sq_lorentz":  # 2 + 2(q·k − t(q)·t(k)), written as float64 keeps it far from the origin
        of_q, of_k = (np.sqrt(1 + (x**2).sum(-1)) for x in (q, k))
        s = s + (of_q[..., :, None] - of_k[..., None, :]) ** 2
    if scale is None:
        scale = 1 / np.sqrt(q.shape[-1]) if score == "scaled_dot" else 1.0
    s = s * np.asarray(scale, np.float64).reshape(-1, 1, 1)
    if softcap:
        s = softcap * np.tanh(s / softcap)
    i, j = places(lq, lk)
    if alibi is not None:
        s = s - np.asarray(alibi, np.float64)[:, None, None] * np.abs(i - j)
    if relative is not None:
        s = s + np.asarray(relative.table, np.float64)[relative_rows(relative, j - i)].transpose(2, 0, 1)
    if bias is not None:
        s = s + np.asarray(bias, np.float64)
    seen = np.ones((lq, lk), bool)
    if causal:
        seen &= j <= i
    if window is not None:
        left, right = window
        if left >= 0:
            seen &= j >= i - left
        if right >= 0:
            seen &= j <= i + right
    seen = np.broadcast_to(seen, s.shape)
    if mask is not None:
        seen = seen & mask
    masked = np.where(seen, s, -np.inf)
    if normalizer == "softmax1":
        sinks = np.zeros(q.shape[1])
    top = masked.max(axis=-1, keepdims=True, initial=-np.inf)
    if sinks is not None:
        sink = np.asarray(sinks, np.float64)[:, None, None]
        top = np.maximum(top, sink)
    finite = np.where(np.isfinite(top), top, 0)
    e = np.exp(masked - finite)
    total = e.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sink - finite)
    weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    with np.errstate(divide="ignore"):
        lse = (finite + np.log(total))[..., 0]
    dropped = weights if keep is None else weights * keep
    return Reference(np.einsum("bhij,bhjd->bhid", dropped, v), lse, weights, np.where(seen & np.isfinite(s), s, 0))


def relative_rows(relative, distance: np.ndarray) -> np.ndarray:
    """The table's row for each distance j − i, as the papers have them."""
    rows, both = len(relative.table), relative.bidirectional
    if relative.kind == "distances":
        most = (rows - 1) // 2 if both else rows - 1
        return np.clip(distance, -most, most) + most if both else np.clip(-distance, 0, most)
    side = rows // 2 if both else rows
    start = side * (distance > 0) if both else 0
    away = abs(distance) if both else np.maximum(-distance, 0)
    exact = side // 2
    growth = np.log(np.maximum(away, 1) / exact) / np.log(relative.max_distance / exact) * (side - exact)
    return start + np.where(away < exact, away, np.minimum(exact + np.floor(growth + 1e-9).astype(int), side - 1))


def strongest(scores: np.ndarray, k: int) -> np.ndarray:
    """Which of the scores [..., Lk] (−inf: masked) are among the k strongest, ties to the lower index."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, order[..., :k], True, axis=-1)
    return kept & (scores > -np.inf)


def turned(x, *, first=0, layout="half", width=0, base=1e4, scaling="none", factor=1.0, original_length=2048):
    """x [B, H, L, D] by rotary positions, from the papers: complex numbers turned by position · frequency."""
    x = np.array(x, np.float64)
    width = width or x.shape[-1]
    pair = np.arange(width // 2)
    if scaling == "ntk":
        base = base * factor ** (width / (width - 2))
    frequency = base ** (-2.0 * pair / width)
    growth = 1.0
    if scaling == "linear":
        frequency = frequency / factor
    elif scaling == "yarn":  # as published with the paper: a ramp between two pairs, β 32 and 1
        place = [width * np.log(original_length / (turns * 2 * np.pi)) / (2 * np.log(base)) for turns in (32, 1)]
        low, high = max(np.floor(place[0]), 0), min(np.ceil(place[1]), width - 1)
        slow = np.clip((pair - low) / max(high - low, 1e-3), 0, 1)
        frequency = frequency * (1 - slow) + frequency / factor * slow
        growth = 0.1 * np.log(factor) + 1
    angle = (np.arange(x.shape[2]) + first)[:, None] * frequency
    a, b = (pair, pair + width // 2) if layout == "half" else (2 * pair, 2 * pair + 1)
    z = (x[..., a] + 1j * x[..., b]) * np.exp(1j * angle) * growth
    x[..., a], x[..., b] = z.real, z.imag
    return x


def unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 1e-12)


def tolerance(q, k, v, ref: Reference, scale: float = 1.0, eps: float = EPS32) -> float:
    """How far float32 may be from the reference.

    A score is a sum of D products, off by at most eps·(D + 8)·scale·|q|·|k| (8: scale, softcap, bias, the conversion
    to base 2 and the sum's last roundings, relative to the scores themselves); a weight is off by twice that,
    relatively, and by eps·(Lk + 16) for exp2 and the sums. The output is a mean of values with these weights.
    """
    if q.size == 0 or k.size == 0:
        return 0.0
    length = np.linalg.norm(q.astype(np.float64), axis=-1).max() * np.linalg.norm(k.astype(np.float64), axis=-1).max()
    score = eps * (q.shape[-1] + 8) * abs(scale) * length + 8 * eps * np.abs(ref.scores).max(initial=0)
    return float(np.abs(v.astype(np.float64)).max(initial=0)) * (2 * score + eps * (k.shape[2] + 16))


def onnx_attention(q, k, v, attn_mask=None, is_causal=False, scale=None, softcap=0.0):
    """The ONNX operator Attention (opset 23), as its definition composes it: √scale on both sides, causal aligned to
    the first query and key, key heads repeated."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    root = np.sqrt(1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    repeats = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeats, axis=1), np.repeat(v, repeats, axis=1)
    product = np.matmul(q * root, np.swapaxes(k * root, -1, -2))
    if softcap > 0:
        product = softcap * np.tanh(product / softcap)
    bias = np.zeros(product.shape[-2:])
    if is_causal:
        bias = np.where(np.tril(np.ones(bias.shape, bool)), bias, -np.inf)
    if attn_mask is not None:
        bias = bias + (np.where(attn_mask, 0.0, -np.inf) if attn_mask.dtype == bool else attn_mask)
    product = product + bias
    product = product - product.max(-1, keepdims=True)
    e = np.exp(product)
    return np.matmul(e / e.sum(-1, keepdims=True), v)
