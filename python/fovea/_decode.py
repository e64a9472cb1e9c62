"""Caches of keys and values, and attention of a few new queries on them."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, Sequence, overload

import numpy as np

from fovea import _fovea
from fovea import _options as options
from fovea._call import find_offsets, maps_of, shown
from fovea._insight import Insight
from fovea._kinds import aligned, dtype_of, fail, from_numpy, kind_of, renamed, stands_for_arrays, to_numpy, wants_gradient
from fovea._relative import Relative, for_call
from fovea._types import A, DecodeKeywords, Window

if TYPE_CHECKING:
    from fovea._types import Unpack

CALL = "attention_decode"
TYPES = ("float32", "bfloat16", "float16", "int8")


class KvCache:
    """The keys and values of one sequence's past tokens, in pages. ``len(cache)`` is the number of tokens it keeps.

    One thread changes a cache at a time; forks may be changed by different threads.

    Parameters
    ----------
    kv_heads : int
        Hkv, the heads of keys and values; they divide the query's.
    width : int in [1, 1024]
        D, of a key.
    value_width : int in [1, 1024]
        Dv, of a value; default D.
    dtype : ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"int8"``
        As what they are kept. float32 loses nothing; the others take a half and a quarter of its memory, and int8, with a
        scale for each token and head, is off by at most the greatest magnitude / 254.
    block : int
        Tokens of a page. 128 wastes at most 127 tokens, and is still read in runs of 8 KB and more.
    window : int
        Keeps the last `window` tokens only; 0 keeps all.

    Raises
    ------
    ValueError
        An argument is outside of its range.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> rng = np.random.default_rng(0)
    >>> cache = fovea.KvCache(kv_heads=2, width=16)
    >>> k, v = rng.normal(size=(2, 10, 2, 16)).astype(np.float32)
    >>> cache.append(k, v)                      # [tokens, Hkv, D]
    >>> q = rng.normal(size=(1, 4, 16)).astype(np.float32)
    >>> out = fovea.attention_decode(q, cache)  # the query stands at the last token
    >>> bool(np.allclose(out, fovea.attention(q, k, v), atol=1e-6)), len(cache)
    (True, 10)
    """

    def __init__(
        self,
        kv_heads: int,
        width: int,
        value_width: int | None = None,
        *,
        dtype: str = "float32",
        block: int = 128,
        window: int = 0,
    ):
        with renamed("KvCache"):
            self._inner = _fovea.KvCache(
                _count("kv_heads", kv_heads, 1),
                _count("width", width, 1),
                _count("value_width", width if value_width is None else value_width, 1),
                getattr(_fovea.CacheType, options.choice("dtype", dtype, TYPES)),
                _count("block", block, 1),
                _count("window", window, 0),
            )

    @renamed("KvCache.append")
    def append(self, k: Any, v: Any) -> None:
        """Adds tokens, rounded to the cache's type, then drops those beyond the window.

        Parameters
        ----------
        k : array ``[n, Hkv, D]``, or ``[1, Hkv, n, D]``
            float32, float64 or 16-bit, of any kind, without a gradient.
        v : array ``[n, Hkv, Dv]``, or ``[1, Hkv, n, Dv]``
            Likewise.

        Raises
        ------
        ValueError
            Shapes that do not fit the cache, or a tensor that requires a gradient.
        """
        arrays = []
        for name, x in (("k", k), ("v", v)):
            if wants_gradient(x):
                fail(f"expected {name} without a gradient, which caches do not keep: call under torch.no_grad()", "KvCache.append")
            x = options.floats(name, x, np.float32)
            if x.ndim == 4 and x.shape[0] == 1:
                x = x[0].transpose(1, 0, 2)
            if x.ndim != 3:
                fail(f"expected {name} as [n, Hkv, D], got {shown(x)}", "KvCache.append")
            arrays.append(aligned(x))
        self._inner.append(*arrays)

    @renamed("KvCache.evict")
    def evict(self, tokens: int) -> None:
        """Drops the oldest tokens; whole pages give their memory back.

        Parameters
        ----------
        tokens : int in [0, len(cache)]
            How many; more raise ValueError.
        """
        self._inner.evict(_count("tokens", tokens, 0))

    def fork(self) -> KvCache:
        """A cache of the same tokens, as beam search needs: pages are copied only when one of both is appended to."""
        forked = KvCache.__new__(KvCache)
        forked._inner = self._inner.fork()
        return forked

    def __deepcopy__(self, memo: Any) -> KvCache:
        return self.fork()

    def __len__(self) -> int:
        return self._inner.length

    @property
    def position(self) -> int:
        """How many tokens were dropped, which is the place of the first kept one in its sequence."""
        return self._inner.position

    @property
    def nbytes(self) -> int:
        """Bytes of all pages that this cache refers to, those shared with forks too."""
        return self._inner.bytes

    def __repr__(self) -> str:
        return f"KvCache({len(self)} tokens, {self.nbytes:,} bytes)"


@overload
def attention_decode(
    q: A, caches: KvCache | Sequence[KvCache], *, observe: None = None, **keywords: Unpack[DecodeKeywords]
) -> A: ...
@overload
def attention_decode(
    q: A, caches: KvCache | Sequence[KvCache], *, observe: Sequence[str], **keywords: Unpack[DecodeKeywords]
) -> tuple[A, Insight[A]]: ...
@renamed(CALL)
def attention_decode(
    q: Any,
    caches: KvCache | Sequence[KvCache],
    *,
    score: str = "scaled_dot",
    normalizer: str = "softmax",
    scale: float | None = None,
    causal: bool = True,
    window: Window = None,
    alibi: Any = None,
    relative: Relative | None = None,
    softcap: float | None = None,
    sinks: Any = None,
    q_offsets: Any = None,
    key_sets: Any = None,
    precision: str = "strict",
    observe: Sequence[str] | None = None,
) -> Any:
    """Attention of a few new queries on caches, which hold the queries' own tokens too: the formula of
    :func:`fovea.attention`, each key and value read once for all queries and grouped heads. No gradient, no dropout.

    Parameters
    ----------
    q : float32, bfloat16 or float16 ``[B, H, L, D]``, or packed ``[T, H, D]`` with `q_offsets` (without: one sequence)
        The last query of a sequence stands at the last token of its cache. The result is of the same type, whatever
        the caches hold; sums are float32.
    caches : KvCache, or a list of them
        One for each sequence, of the same heads and widths.
    causal : bool
        On by default, unlike :func:`fovea.attention`: of several new queries, the earlier do not see the later.
    precision : ``"strict"``, ``"high"`` or ``"fast"``
        ``"fast"``, or a bfloat16 q, multiplies in 16 bits where three or more queries or grouped heads meet a bfloat16
        cache (on processors with AVX-512-BF16) or an int8 one; otherwise arithmetic is float32.

    score, normalizer, scale, window, alibi, relative, softcap, sinks, q_offsets, observe
        As of :func:`fovea.attention`; a scale is one number here.
    key_sets : int ``[Σ cache lengths]``
        Of the caches' tokens, one cache after the other.

    Returns
    -------
    array or (array, Insight)
        ``[B, H, L, Dv]``, packed ``[T, H, Dv]``, of the kind and type of q. Caches differ in length, so that in insights
        `key_mass` is ``[Σ cache lengths, H]``, `block_mass` a list of a map for each cache, and `rows`, for q of four
        dimensions, a list of ``[H, len(queries), cache length]``; rows are computed from the caches as they are then,
        which must not have changed since.

    Raises
    ------
    ValueError
        An argument does not fit; the message names it, what was expected and what was found.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> k, v = np.random.default_rng(0).normal(size=(2, 10, 2, 16)).astype(np.float32)
    >>> cache = fovea.KvCache(kv_heads=2, width=16)
    >>> cache.append(k, v)
    >>> out, seen = fovea.attention_decode(k[-1:], cache, observe=["entropy", "top_k:3"])
    >>> seen.top_k.indices.shape, seen.rows([0])[0].shape      # three keys a head; the weights on all ten
    ((1, 2, 3), (2, 10))
    """
    if stands_for_arrays(q):
        fail("expected q with values: a cache changes with each call, which torch.fx's graphs do not record", CALL)
    kind = kind_of(q)
    if kind is None or dtype_of(q) not in ("float32", "bfloat16", "float16"):
        found = type(q).__name__ if kind is None else q.dtype
        fail(f"expected q as a float32, bfloat16 or float16 array, got {found}", CALL)
    if wants_gradient(q):
        fail("expected q without a gradient, which decoding has not: call under torch.no_grad(), or fovea.attention", CALL)
    x = to_numpy(q, "q")
    if x.ndim not in (3, 4):
        fail(f"expected q as [B, H, L, D] or [T, H, D], got {shown(x)}", CALL)
    given = [caches] if isinstance(caches, KvCache) else caches
    if not isinstance(given, (list, tuple)) or not all(isinstance(c, KvCache) for c in given):
        fail(f"expected caches as a KvCache or a list of them, got {type(caches).__name__}", CALL)
    chosen, arrays = options.split(
        dict(
            score=score, normalizer=normalizer, scale=scale, causal=causal, window=window, alibi=alibi, relative=relative,
            softcap=softcap, sinks=sinks, q_offsets=q_offsets, key_sets=key_sets, precision=precision,
        )
    )  # fmt: skip
    if "scale" in arrays:
        fail("expected scale as one number", CALL)
    wishes = options.Observe() if observe is None else options.observe(observe)
    call = _Decoding(x, list(given), dtype_of(q), chosen, **arrays)
    out, seen = call.forward(wishes)
    result = from_numpy(call.rows_first(out), kind, dtype_of(q), q)
    return result if observe is None else (result, Insight(call, seen, partial(from_numpy, kind=kind)))


class _Decoding:
    """The checked arguments of a call, and what an Insight asks of one."""

    def __init__(
        self, q: np.ndarray, caches: list[KvCache], dtype: str, given: options.Options, *,
        alibi: Any = None, sinks: Any = None, relative: Any = None, q_offsets: Any = None, key_sets: Any = None,
    ):  # fmt: skip
        self.packed, self.q_shape, self.dtype = q.ndim == 3, q.shape, dtype
        self.q_offsets, _ = find_offsets(q, q, q_offsets, None)
        if len(caches) != len(self.q_offsets) - 1:
            fail(f"expected a cache for each of the {len(self.q_offsets) - 1} sequences, got {len(caches)}", CALL)
        self._caches, self._filled = caches, [_filling(c) for c in caches]
        lengths = [len(c) for c in caches]
        self.k_offsets = [0, *itertools.accumulate(lengths)]
        self._lengths = list(zip((b - a for a, b in zip(self.q_offsets, self.q_offsets[1:])), lengths))
        self._key_sets = options.key_sets(key_sets, lengths)
        heads = q.shape[1]
        spec = _fovea.AttentionSpec()
        spec.score = getattr(_fovea.Score, given.score)
        spec.normalizer = getattr(_fovea.Normalizer, given.normalizer)
        spec.causal = given.causal
        spec.window_left, spec.window_right = given.left, given.right
        spec.precision = getattr(_fovea.Precision, given.precision)
        about = (given.relative_kind, given.relative_distance, given.relative_both)
        table, rows = for_call(relative, *about, heads=heads, real=np.float32)
        self._inner = getattr(_fovea, f"DecodeCall_{dtype}")(
            q=aligned(q if self.packed else q.transpose(0, 2, 1, 3)),
            q_offsets=self.q_offsets,
            caches=[c._inner for c in caches],
            spec=spec,
            scale=given.scale,
            softcap=given.softcap,
            alibi=options.heads_row("alibi", alibi, heads, np.float32),
            sinks=options.heads_row("sinks", sinks, heads, np.float32),
            table=table,
            relative=rows,
        )

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle or copy an Insight of caches, which are their process's: take its arrays and rows")

    def forward(self, observe: options.Observe) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return self._inner.forward(options.observers(observe, self._key_sets), self._key_sets)

    @property
    def query_count(self) -> int:
        return self.q_shape[0] if self.packed else self.q_shape[2]

    def rows_first(self, x: np.ndarray) -> np.ndarray:
        if self.packed:
            return x
        batch, heads, length = self.q_shape[:3]
        return x.reshape(batch, length, heads, *x.shape[2:]).swapaxes(1, 2)

    def keys_first(self, x: np.ndarray) -> np.ndarray:
        return x

    def block_maps(self, x: np.ndarray) -> Any:
        return maps_of(x, self._lengths)

    def token_rows(self, tokens: list[int], shares: np.ndarray | None = None) -> list[np.ndarray]:
        if [_filling(c) for c in self._caches] != self._filled:
            fail("expected caches as they were when the call was made, got changed ones", "Insight.rows")
        weights, begins = self._inner.rows(queries=tokens, shares=shares)
        return [weights[a:b].T for a, b in zip(begins, begins[1:])]

    def weight_rows(self, queries: list[int], shares: np.ndarray | None = None) -> Any:
        if self.packed:
            return self.token_rows(queries, shares)
        batch, heads, length = self.q_shape[:3]
        rows = self.token_rows([n * length + i for n in range(batch) for i in queries], shares)
        count = len(queries)
        return [
            np.stack(rows[n * count : (n + 1) * count], axis=1) if count else np.zeros((heads, 0, lk), np.float32)
            for n, (_, lk) in enumerate(self._lengths)
        ]

    def key_mass_of(self, whole: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """[Σ cache lengths, H], of a part of the keys: the sum of the few queries' rows."""
        mass = np.zeros((self.k_offsets[-1], self.q_shape[1]), np.float32)
        for n, (begin, end) in enumerate(zip(self.q_offsets, self.q_offsets[1:])):
            for row in self.token_rows(list(range(begin, end)), shares):
                mass[self.k_offsets[n] : self.k_offsets[n + 1]] += row.T
        return mass

    def sampled_mass(self, samples: int, seed: int, shares: np.ndarray | None = None) -> Any:
        fail("expected a call of fovea.attention: on caches observe=['key_mass'] costs no more", "Insight.sampled_key_mass")


def _filling(cache: KvCache) -> tuple[int, int]:
    return cache.position, len(cache)


def _count(name: str, value: Any, least: int) -> int:
    return options.integer(name, value, least, 2**31)
