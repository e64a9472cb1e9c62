"""One call of the engine: arrays in the engine's layout, results in the caller's."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from fovea import _fovea
from fovea import _options as options
from fovea._from_start import FromStart
from fovea._kinds import aligned, fail, to_numpy
from fovea._numbered import lookup
from fovea._pickled import Pickled, again
from fovea._relative import for_call

MAX_WIDTH = 1024
TILE = 64  # of block masses
HEADS_FIRST, TOKENS_FIRST = _fovea.Layout.heads_first, _fovea.Layout.tokens_first


def layout(x: np.ndarray) -> _fovea.Layout:
    """How the heads lie in memory; results lie as their argument does."""
    return HEADS_FIRST if x.ndim == 4 and x.strides[1] >= x.strides[2] else TOKENS_FIRST


def shown(x: np.ndarray) -> str:
    return "[" + ", ".join(map(str, x.shape)) + "]"


class Call:
    """The checked arguments of a call on NumPy arrays, and what can be done with them.

    Inside, [B, H, L, D] is seen as [B, L, H, D]: N = B sequences of L tokens.
    """

    def __init__(
        self,
        q: np.ndarray,
        k: np.ndarray,
        v: np.ndarray,
        dtype: str,
        given: options.Options,
        *,
        bias: Any = None,
        alibi: Any = None,
        sinks: Any = None,
        scale: Any = None,
        relative: Any = None,
        mask: Any = None,
        q_offsets: Any = None,
        k_offsets: Any = None,
        key_sets: Any = None,
        seed: Any = None,
    ):
        check_shapes(q, k, v)
        self.packed = q.ndim == 3
        self.dtype = dtype
        arrays = dict(
            bias=bias, alibi=alibi, sinks=sinks, scale=scale, relative=relative, mask=mask, q_offsets=q_offsets,
            k_offsets=k_offsets, key_sets=key_sets, seed=seed,
        )  # fmt: skip
        self._made_of = Pickled(q, k, v, dtype, given, arrays)
        self._start = FromStart(q.shape[2], k.shape[2]) if given.from_start else None
        self._whole = {"dk": k.shape, "dv": v.shape}
        if self._start is not None:
            k, v = (self._start.cut(x, -2) for x in (k, v))
        self.q_shape, self.k_shape, self.v_shape = q.shape, k.shape, v.shape
        self._layouts = [layout(x) for x in (q, k, v)]
        self.q_offsets, self.k_offsets = find_offsets(q, k, q_offsets, k_offsets)
        heads, real = q.shape[1], np.float64 if dtype == "float64" else np.float32
        lengths = [
            (b - a, d - c)
            for a, b, c, d in zip(self.q_offsets, self.q_offsets[1:], self.k_offsets, self.k_offsets[1:])
        ]
        self.lengths = lengths
        self._key_sets = options.key_sets(key_sets, [lk for _, lk in lengths])
        longest = [max(row, default=0) for row in zip(*lengths)] if self.packed else [q.shape[2], k.shape[2]]
        wanted = (len(lengths), heads, *(longest or [0, 0]))
        form = "[N, H, longest q, longest k]" if self.packed else "[B, H, Lq, Lk]"
        if scale is not None and given.scale is not None:
            fail("expected scale as one number or as one for each head, got both")
        bias_dims = (1, 1, 1, 1)
        if bias is not None:
            bias = options.floats("bias", bias, real)
            self._whole["dbias"] = bias.shape
            bias = bias if self._start is None else self._start.cut(bias, -1)
            self.bias_shape = bias.shape
            bias_dims = (1,) * (4 - bias.ndim) + bias.shape
            bias = options.scores("bias", bias, wanted, form)
        if mask is not None:
            mask = options.list_or_array("mask", mask, "booleans")
            if mask.dtype != bool:
                fail(f"expected mask as booleans (True attends), got {mask.dtype}")
            mask = mask if self._start is None else self._start.cut(mask, -1)
            mask = options.scores("mask", mask, wanted, form).view(np.uint8)
        blocks, override = lookup(given.blocks), lookup(given.override)
        self._rotary = lookup(given.rotary)
        spec = _fovea.AttentionSpec()
        spec.score = getattr(_fovea.Score, given.score)
        spec.normalizer = getattr(_fovea.Normalizer, given.normalizer)
        spec.causal = given.causal
        spec.window_left, spec.window_right = given.left, given.right
        if self._start is not None:
            spec.causal, spec.window_right = self._start.causal, self._start.right
        spec.top_k = given.top_k
        spec.dropout = given.dropout
        spec.precision = getattr(_fovea.Precision, given.precision)
        spec.seed = given.seed if seed is None else options.seed_of(seed)
        about = (given.relative_kind, given.relative_distance, given.relative_both)
        table, rows = for_call(relative, *about, heads=heads, real=real)
        self._inner = getattr(_fovea, f"AttentionCall_{dtype}")(
            q=self._turned(self._inside(q), 0),
            k=self._turned(self._inside(k), 1),
            v=self._inside(v),
            q_offsets=self.q_offsets,
            k_offsets=self.k_offsets,
            spec=spec,
            scale=given.scale,
            softcap=given.softcap,
            alibi=options.heads_row("alibi", alibi, heads, real),
            sinks=options.heads_row("sinks", sinks, heads, real),
            scales=options.heads_row("scale", scale, heads, real),
            table=table,
            relative=rows,
            bias=bias,
            bias_dims=bias_dims,
            mask=mask,
            blocks=[] if blocks is None or not lengths else blocks._for_call(lengths, heads),
            override_heads=_fovea.Override()
            if override is None
            else override._for_call(heads, wanted, form, [lk for _, lk in lengths]),
        )

    def __reduce__(self) -> Any:
        return again, (Call, self._made_of)

    def _inside(self, x: np.ndarray) -> np.ndarray:
        """[B, H, L, D] as [B, L, H, D]; packed as it is. No copy where the engine can read the strides."""
        if self.packed:
            return aligned(x)
        x = x.transpose(0, 2, 1, 3)
        if x.shape[0] > 1 and x.strides[0] == 0:
            x = x.copy()  # to the engine a sequence stride of 0 means packed sequences
        return aligned(x)

    def _turned(self, x: np.ndarray, side: int, back: bool = False) -> np.ndarray:
        """q (side 0) or k (side 1) as rotary positions turn it; the last query stands at the last key."""
        if self._rotary is None:
            return x
        first = [max(0, pair[1 - side] - pair[side]) for pair in self.lengths]
        return self._rotary._turned(x, self.dtype, (self.q_offsets, self.k_offsets)[side], first, back)

    def _outside(self, x: np.ndarray, place: _fovea.Layout) -> np.ndarray:
        """What the engine wrote in a layout, as [B, H, L, D]."""
        return x if self.packed or place == HEADS_FIRST else x.transpose(0, 2, 1, 3)

    def forward(self, observe: options.Observe) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The output in the caller's layout, and what was seen in the engine's."""
        out, seen = self._inner.forward(
            options.observers(observe, self._key_sets), self._key_sets, self._layouts[0]
        )
        return self._outside(out, self._layouts[0]), seen

    def backward(
        self,
        out: np.ndarray,
        saved: np.ndarray,
        dout: np.ndarray,
        wanted: Sequence[str] = options.DIFFERENTIABLE,
        dlse: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Gradients in the caller's layout; out as forward gave it, saved as it saw it; dlse, in lse's layout, that of lse.

        Beside those of q, k and v, of the arrays named in `wanted`, as far as they were given.
        """
        expected = (*self.q_shape[:-1], self.v_shape[-1])
        if dout.shape != expected:
            fail(f"expected dout [{', '.join(map(str, expected))}] like the output, got {shown(dout)}", "attention_vjp")
        grads = self._inner.backward(
            out=self._inside(out),
            saved=np.ascontiguousarray(saved),
            dout=self._inside(dout),
            dlse=None if dlse is None else self._of_rows("dlse", dlse, saved.dtype),
            q_layout=self._layouts[0],
            k_layout=self._layouts[1],
            v_layout=self._layouts[2],
            wanted=list(wanted),
        )
        for name, place in zip(("dq", "dk", "dv"), self._layouts):
            grads[name] = self._outside(grads[name], place)
        for side, name in enumerate(("dq", "dk") if self._rotary is not None else ()):
            back = self._outside(self._turned(self._inside(grads[name]), side, back=True), TOKENS_FIRST)
            grads[name] = np.ascontiguousarray(back) if self._layouts[side] == HEADS_FIRST else back
        if "dbias" in grads:
            grads["dbias"] = grads["dbias"].reshape(self.bias_shape)
        if self._start is not None:
            grads |= {name: self._start.padded(grads[name], self._whole[name]) for name in self._whole if name in grads}
        return grads

    def rows_first(self, x: np.ndarray) -> np.ndarray:
        """[T, H, …] of q's tokens with the output's leading shape."""
        return x if self.packed else self._batched(x, self.q_shape[2])

    def keys_first(self, x: np.ndarray) -> np.ndarray:
        return x if self.packed else self._batched(x, self.k_shape[2])

    def _batched(self, x: np.ndarray, length: int) -> np.ndarray:
        return x.reshape(self.q_shape[0], length, *x.shape[1:]).swapaxes(1, 2)

    def rows_first_undone(self, x: np.ndarray) -> np.ndarray:
        """[B, H, L, …] as the engine's [T, H, …]."""
        return x if self.packed else x.swapaxes(1, 2).reshape(x.shape[0] * x.shape[2], x.shape[1], *x.shape[3:])

    def block_maps(self, x: np.ndarray) -> Any:
        """[Σ ⌈Lq/64⌉·⌈Lk/64⌉, H] as [B, H, rows, columns], packed a list of [H, rows, columns]."""
        if self.packed:
            return maps_of(x, self.lengths)
        rows, columns = -(-self.q_shape[2] // TILE), -(-self.k_shape[2] // TILE)
        return x.reshape(self.q_shape[0], rows, columns, self.q_shape[1]).transpose(0, 3, 1, 2)

    @property
    def query_count(self) -> int:
        return self.q_shape[0] if self.packed else self.q_shape[2]

    def _of_rows(self, name: str, x: np.ndarray, dtype: Any) -> np.ndarray:
        """[T, H] of what has the leading shape of the output."""
        if x.shape != self.q_shape[:-1]:
            fail(f"expected {name} [{', '.join(map(str, self.q_shape[:-1]))}] like lse, got {shown(x)}", "attention_vjp")
        return np.ascontiguousarray(self.rows_first_undone(x), dtype=dtype)

    def token_rows(self, tokens: list[int], shares: np.ndarray | None = None) -> list[np.ndarray]:
        """Exact weights [H, Lk] of chosen tokens of q, counted over all sequences, times the share [T, H] of each row."""
        weights, begins = self._inner.rows(queries=tokens, shares=shares)
        return [weights[a:b].T for a, b in zip(begins, begins[1:])]

    def weight_rows(self, queries: list[int], shares: np.ndarray | None = None) -> Any:
        """Exact weights: [B, H, n, Lk], packed a list of [H, Lk]."""
        if self.packed:
            return self.token_rows(queries, shares)
        batch, heads, length = self.q_shape[:3]
        tokens = [n * length + i for n in range(batch) for i in queries]
        weights, _ = self._inner.rows(queries=tokens, shares=shares)
        return weights.reshape(batch, len(queries), self.k_shape[2], heads).transpose(0, 3, 1, 2)

    def key_mass_of(self, whole: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """[Tk, H], of a part of the keys, for what the softmax left of the whole [T, H, 2]."""
        return self._inner.key_mass(saved=whole)

    def sampled_mass(self, samples: int, seed: int, shares: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        if self.dtype == "float64":
            fail("expected float32, bfloat16 or float16 arrays, got float64", "Insight.sampled_key_mass")
        return self._inner.sampled_key_mass(samples=samples, seed=seed, shares=shares)


def maps_of(x: np.ndarray, lengths: list[tuple[int, int]]) -> list[np.ndarray]:
    """Block masses of packed sequences as a map [H, rows, columns] for each."""
    shapes = [(-(-lq // TILE), -(-lk // TILE)) for lq, lk in lengths]
    begins = np.concatenate([[0], np.cumsum([r * c for r, c in shapes])]).astype(int)
    return [x[a:b].reshape(*s, x.shape[-1]).transpose(2, 0, 1) for a, b, s in zip(begins, begins[1:], shapes)]


def check_shapes(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> None:
    if q.ndim not in (3, 4) or k.ndim != q.ndim or v.ndim != q.ndim:
        fail(f"expected q, k and v all as [B, H, L, D] or all as [T, H, D], got {shown(q)}, {shown(k)} and {shown(v)}")

    def got() -> str:  # made only when something is wrong: it costs as much as the checks
        return f"got q {shown(q)}, k {shown(k)} and v {shown(v)}"

    if q.ndim == 4 and not q.shape[0] == k.shape[0] == v.shape[0]:
        fail(f"expected q, k and v of equal batch, {got()}")
    tokens = -2 if q.ndim == 4 else 0
    if k.shape[tokens] != v.shape[tokens]:
        fail(f"expected k and v of equal length, {got()}")
    if k.shape[1] != v.shape[1]:
        fail(f"expected k and v with equal heads, {got()}")
    if q.shape[1] != 0 if k.shape[1] == 0 else q.shape[1] % k.shape[1] != 0:
        fail(f"expected a number of key heads that divides the query heads, {got()}")
    if q.shape[-1] != k.shape[-1]:
        fail(f"expected q and k of equal width, {got()}")
    for width in (q.shape[-1], v.shape[-1]):
        if width > MAX_WIDTH:
            fail(f"expected widths in [0, {MAX_WIDTH}], {got()}")


def find_offsets(q: np.ndarray, k: np.ndarray, q_offsets: Any, k_offsets: Any) -> tuple[list[int], list[int]]:
    if q.ndim == 4:
        if q_offsets is not None or k_offsets is not None:
            fail(f"expected q packed as [T, H, D] with offsets, got q {shown(q)}")
        starts = [[x.shape[2] * n for n in range(x.shape[0] + 1)] for x in (q, k)]
        return starts[0], starts[1]
    q_tokens, k_tokens = q.shape[0], k.shape[0]
    if q_offsets is None:
        if k_offsets is not None:
            fail("expected q_offsets beside k_offsets, got none")
        return [0, q_tokens], [0, k_tokens]
    q_result = options.offsets("q_offsets", q_offsets, q_tokens)
    if k_offsets is None:
        if k_tokens != q_tokens:
            fail(
                f"expected k_offsets, since q_offsets alone serves both sides and k has {k_tokens} tokens, q {q_tokens}"
            )
        return q_result, q_result
    k_result = options.offsets("k_offsets", k_offsets, k_tokens)
    if len(q_result) != len(k_result):
        fail(f"expected q_offsets and k_offsets of equal length, got {len(q_result)} and {len(k_result)}")
    return q_result, k_result
