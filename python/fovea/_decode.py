"""Caches of keys and values, and attention of a few new queries on them."""

from __future__ import annotations

from functools import partial
from typing import Any, Sequence

import numpy as np

from fovea import _fovea
from fovea import _options as options
from fovea._call import find_offsets, shown
from fovea._insight import Insight
from fovea._kinds import aligned, dtype_of, fail, from_numpy, kind_of, to_numpy

TYPES = ("float32", "bfloat16", "float16", "int8")


class KvCache:
    """The keys and values of one sequence's past tokens, in pages.

    Parameters
    ----------
    kv_heads, width, value_width : int
        Hkv, D and Dv (default D).
    dtype : ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"int8"``
        As what they are kept; int8 with a scale for each token and head.
    block : int
        Tokens of a page. 128 wastes at most 127 tokens.
    window : int
        Keeps the last `window` tokens only; 0 keeps all.

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
        self._inner = _fovea.KvCache(
            _count("kv_heads", kv_heads, 1),
            _count("width", width, 1),
            _count("value_width", width if value_width is None else value_width, 1),
            getattr(_fovea.CacheType, options.choice("dtype", dtype, TYPES)),
            _count("block", block, 1),
            _count("window", window, 0),
        )

    def append(self, k: Any, v: Any) -> None:
        """Adds tokens: k ``[n, Hkv, D]``, v ``[n, Hkv, Dv]`` (or ``[1, Hkv, n, D]``), float32 or 16-bit, of any kind."""
        arrays = []
        for name, x in (("k", k), ("v", v)):
            x = options.floats(name, x, np.float32)
            if x.ndim == 4 and x.shape[0] == 1:
                x = x[0].transpose(1, 0, 2)
            if x.ndim != 3:
                fail(f"expected {name} as [n, Hkv, D], got {shown(x)}", "KvCache.append")
            arrays.append(aligned(x))
        self._inner.append(*arrays)

    def evict(self, tokens: int) -> None:
        """Drops the oldest tokens."""
        self._inner.evict(_count("tokens", tokens, 0))

    def fork(self) -> KvCache:
        """A cache of the same tokens, as beam search needs: pages are copied only when one of both is appended to."""
        forked = KvCache.__new__(KvCache)
        forked._inner = self._inner.fork()
        return forked

    def __len__(self) -> int:
        return self._inner.length

    @property
    def position(self) -> int:
        """Of the first kept token: how many were dropped."""
        return self._inner.position

    @property
    def nbytes(self) -> int:
        """Of all pages that this cache refers to, shared ones too."""
        return self._inner.bytes

    def __repr__(self) -> str:
        return f"KvCache({len(self)} tokens, {self.nbytes:,} bytes)"


def attention_decode(
    q: Any,
    caches: KvCache | Sequence[KvCache],
    *,
    scale: float | None = None,
    causal: bool = True,
    window: tuple[int, int] | None = None,
    alibi: Any = None,
    softcap: float | None = None,
    sinks: Any = None,
    q_offsets: Any = None,
    key_sets: Any = None,
    observe: Sequence[str] | None = None,
) -> Any:
    """Attention of a few new queries on caches, which hold the queries' own tokens too.

    Parameters
    ----------
    q : float32, bfloat16 or float16 ``[B, H, L, D]``, or packed ``[T, H, D]`` with `q_offsets` (without: one sequence)
        The last query of a sequence stands at the last token of its cache. The result is of the same type, whatever
        the caches hold; sums are float32.
    caches
        One for each sequence.
    causal : bool
        On by default, unlike :func:`fovea.attention`: of several new queries, the earlier do not see the later.

    The other keywords and the result are those of :func:`fovea.attention`; insights have neither `rows` nor
    `sampled_key_mass`, and `key_mass` is ``[Σ cache lengths, H]``. `key_sets` are of the caches' tokens, one cache after
    the other.
    """
    kind = kind_of(q)
    if kind is None or dtype_of(q) not in ("float32", "bfloat16", "float16"):
        found = type(q).__name__ if kind is None else q.dtype
        fail(f"expected q as a float32, bfloat16 or float16 array, got {found}", "attention_decode")
    x = to_numpy(q, "q")
    if x.ndim not in (3, 4):
        fail(f"expected q as [B, H, L, D] or [T, H, D], got {shown(x)}", "attention_decode")
    given = [caches] if isinstance(caches, KvCache) else caches
    if not isinstance(given, (list, tuple)) or not all(isinstance(c, KvCache) for c in given):
        fail(f"expected caches as a KvCache or a list of them, got {type(caches).__name__}", "attention_decode")
    offsets, _ = find_offsets(x, x, q_offsets, None)
    if len(given) != len(offsets) - 1:
        fail(f"expected a cache for each of the {len(offsets) - 1} sequences, got {len(given)}", "attention_decode")
    chosen = options.Options.of(scale=scale, causal=causal, window=window, softcap=softcap)
    wishes = options.Observe() if observe is None else options.observe(observe)
    if "block_mass" in wishes:
        fail("expected observe without block_mass, which is a map of many queries", "attention_decode")
    spec = _fovea.AttentionSpec()
    spec.causal = chosen.causal
    spec.window_left, spec.window_right = chosen.left, chosen.right
    heads = x.shape[1]
    sets = options.key_sets(key_sets, [len(c) for c in given])
    out, seen = getattr(_fovea, f"decode_{dtype_of(q)}")(
        aligned(x if x.ndim == 3 else x.transpose(0, 2, 1, 3)),
        offsets,
        [c._inner for c in given],
        spec,
        chosen.scale,
        chosen.softcap,
        options.heads_row("alibi", alibi, heads, np.float32),
        options.heads_row("sinks", sinks, heads, np.float32),
        options.observers(wishes, sets),
        sets,
    )
    call = _Decoded(x.shape)
    result = from_numpy(call.rows_first(out), kind, dtype_of(q), q)
    return result if observe is None else (result, Insight(call, seen, partial(from_numpy, kind=kind)))


class _Decoded:
    """What an Insight asks of a call."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.query_count = shape[0] if len(shape) == 3 else shape[2]

    def rows_first(self, x: np.ndarray) -> np.ndarray:
        if len(self.shape) == 3:
            return x
        batch, heads, length = self.shape[:3]
        return x.reshape(batch, length, heads, *x.shape[2:]).swapaxes(1, 2)

    def keys_first(self, x: np.ndarray) -> np.ndarray:
        return x

    def sampled_mass(self, lse: np.ndarray, samples: int, seed: int) -> Any:
        fail("expected a call of fovea.attention: rows are not made on caches", "Insight.sampled_key_mass")

    def weight_rows(self, lse: np.ndarray, queries: list[int]) -> Any:
        fail("expected a call of fovea.attention: exact rows are not made on caches", "Insight.rows")


def _count(name: str, value: Any, least: int) -> int:
    return options.integer(name, value, least, 2**31)
