"""What was seen of one attention call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Sequence, TypeVar

import numpy as np

from fovea import _plot
from fovea._kinds import fail, renamed

X = TypeVar("X")  # the arrays' kind

# What `observe` accepts, and the attributes it fills; FORMS is what follows a name that has numbers.
OBSERVERS = {
    "entropy": ("entropy",),
    "max": ("max", "max_key"),
    "key_mass": ("key_mass",),
    "top_k": ("top_k",),
    "effective_keys": ("effective_keys",),
    "distance": ("distance",),
    "first_key": ("first_key_mass",),
    "near": ("near_mass",),
    "key_sets": ("set_mass",),
    "block_mass": ("block_mass",),
}
FORMS = {"top_k": ":k", "near": ":left,right"}
EXAMPLES = {"top_k": "top_k:8", "near": "near:16,0"}
# Statistics of each query.
ROWS = ("entropy", "max", "max_key", "effective_keys", "distance", "first_key_mass", "near_mass", "set_mass")


class TopK(NamedTuple):
    """The strongest keys of each query, strongest first, ties to the lower index. Made by ``observe=["top_k:8"]`` of
    :func:`fovea.attention`, for any k >= 1; no more than 1,024 places are made that no sequence has a key for. The order
    is that of the scores: a key whose weight rounds to 0 keeps its place.

    Attributes
    ----------
    indices : int ``[B, H, L, k]``, packed ``[T, H, k]``
        Keys, counted within the query's sequence; −1 where the query sees fewer.
    weights : float ``[B, H, L, k]``, packed ``[T, H, k]``
        Their weights; 0 where the query sees fewer.
    """

    indices: Any
    weights: Any


class SampledMass(NamedTuple):
    """An estimate of `key_mass` from some queries. Made by :meth:`Insight.sampled_key_mass`.

    Attributes
    ----------
    mass : float ``[B, H, Lk]``, packed ``[Tk, H]``
        Lq times the mean weight of the drawn queries on each key.
    standard_error : float, likewise
        Of the mass; 0 where all queries were read.
    """

    mass: Any
    standard_error: Any


class Insight(Generic[X]):
    """What was seen of a call. Made by :func:`fovea.attention`, :func:`fovea.attention_decode` and :func:`fovea.merge`
    with ``observe=[...]``.

    Arrays are of the same kind as q, float32 (of a float64 call float64), and lead with the output's shape: ``[B, H, L]``,
    packed ``[T, H]``. Weights are those before dropout. An attribute that was not observed raises AttributeError and says
    what to ask for. A pickle holds the q and k that `rows` reads, too.

    Beside `lse`, which float32 rounds, it keeps maximum and log-sum of each row apart (the ``softmax_rows`` of C++), from
    which exact rows and :func:`fovea.merge` are made: they are right for scores of any size.

    Attributes
    ----------
    lse : array
        Natural logarithm of the sum of exponentials of each query's logits, a sink counted; −inf without keys. Of PyTorch
        tensors that require a gradient it carries one; no other attribute does, and JAX's transformations give the output
        alone.
    entropy : array
        −Σ w·ln w of each query's weights, in nats, a sink as one outcome; 0 without keys (``observe=["entropy"]``).
    max : array
        Each query's largest weight; 0 without keys (``"max"``).
    max_key : int array
        The index of its key within the sequence, the lower one of equals; −1 without keys (``"max"``).
    key_mass : array
        ``[B, H, Lk]``, packed ``[Tk, H]``: the sum over queries of the weight on each key (``"key_mass"``).
    top_k : TopK
        The k strongest keys of each query, a :class:`TopK` (``"top_k:8"``).
    effective_keys : array
        (Σw)² / Σw²: 1 where one key has all, n where n keys share, 0 where a sink leaves them less than 2⁻¹⁰⁰
        (``"effective_keys"``).
    distance : array
        Σ w·|i − j|, in tokens, the last query aligned to the last key (``"distance"``).
    first_key_mass : array
        The weight on the sequence's first key, where causal models park attention (``"first_key"``).
    near_mass : array
        The weight on the keys from i − left to i + right (``"near:16,0"``).
    set_mass : array
        ``[B, H, L, sets]``: the weight on each of the `key_sets` that the call named (``"key_sets"``).
    block_mass : array or list of arrays
        ``[B, H, ⌈Lq/64⌉, ⌈Lk/64⌉]``, packed a list of such maps: weights summed over 64 queries and 64 keys
        (``"block_mass"``).
    """

    lse: X
    entropy: X
    max: X
    max_key: X
    key_mass: X
    top_k: TopK
    effective_keys: X
    distance: X
    first_key_mass: X
    near_mass: X
    set_mass: X
    block_mass: Any

    def __init__(self, call: Any, seen: dict[str, Any], wrap: Any):
        # call: a Call, or what stands for one on caches (_decode.py)
        self._call = call
        self._raw = seen
        self._wrap = wrap
        self._shown: dict[str, Any] = {}
        self.lse = wrap(call.rows_first(seen["lse"]))
        for name in ROWS:
            if name in seen:
                self._shown[name] = wrap(call.rows_first(seen[name]))
        if "key_mass" in seen:
            self._shown["key_mass"] = wrap(call.keys_first(seen["key_mass"]))
        if "top_k_indices" in seen:
            self._shown["top_k"] = TopK(
                wrap(call.rows_first(seen["top_k_indices"])), wrap(call.rows_first(seen["top_k_weights"]))
            )

        if "block_mass" in seen:
            maps = call.block_maps(seen["block_mass"])
            self._shown["block_mass"] = [wrap(m) for m in maps] if isinstance(maps, list) else wrap(maps)

    def __reduce__(self) -> Any:
        return Insight, (self._call, self._raw, self._wrap)

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name: str) -> Any:
            if name in self.__dict__.get("_shown", {}):
                return self._shown[name]
            for observer, attributes in OBSERVERS.items():
                if name in attributes:
                    wish = EXAMPLES.get(observer, observer)
                    raise AttributeError(f"{name} was not observed; call attention(..., observe=['{wish}'])")
            raise AttributeError(f"Insight has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return sorted({"lse", "rows", "sampled_key_mass", "plot", *self._shown})

    def __repr__(self) -> str:
        return f"Insight(lse {tuple(getattr(self.lse, 'shape'))}, {', '.join(sorted(self._shown)) or 'nothing else'})"

    def rows(self, queries: Sequence[int]) -> Any:
        """Exact weights of chosen queries, computed now in float64 from q and k, which must not have been changed since.

        Parameters
        ----------
        queries : list of int
            In ``[0, Lq)``, the same for every sequence and head; packed: rows of q. Negative ones count from the end.

        Returns
        -------
        array or list of arrays
            ``[B, H, len(queries), Lk]``; packed: for each query ``[H, Lk]`` with the Lk of its sequence.

        Raises
        ------
        ValueError
            A query that is not there, or caches that changed since.

        Examples
        --------
        >>> import numpy as np, fovea
        >>> q = np.zeros((1, 1, 4, 2), np.float32)
        >>> out, seen = fovea.attention(q, q, q, causal=True, observe=[])
        >>> seen.rows([1, 3])[0, 0]
        array([[0.5 , 0.5 , 0.  , 0.  ],
               [0.25, 0.25, 0.25, 0.25]], dtype=float32)
        """
        weights = self._call.weight_rows(_indices(queries, self._call.query_count))
        if isinstance(weights, list):
            return [self._wrap(w) for w in weights]
        return self._wrap(weights)

    def sampled_key_mass(self, samples: int = 64, seed: int = 0) -> SampledMass:
        """An estimate of `key_mass` from the exact rows of some queries of each sequence, computed now.

        The mass is Lq times the mean of the drawn rows, with its standard error. Costs samples / Lq of a pass over the
        scores, where ``observe=["key_mass"]`` costs half a forward.

        Parameters
        ----------
        samples : int >= 2
            Queries drawn from each sequence without replacement; all where it has no more. With 64 the standard error is
            an eighth of the spread between queries.
        seed : int
            Of the draw: the same seed draws the same queries.

        Returns
        -------
        SampledMass

        Raises
        ------
        ValueError
            A float64 call, or one on caches, where ``observe=["key_mass"]`` costs no more.

        Examples
        --------
        >>> import numpy as np, fovea
        >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 500, 16)).astype(np.float32)
        >>> out, seen = fovea.attention(q, k, v, observe=["key_mass"])
        >>> guess = seen.sampled_key_mass(100)
        >>> bool((abs(guess.mass - seen.key_mass) < 6 * guess.standard_error).all())
        True
        """
        from fovea import _options as options

        with renamed("Insight.sampled_key_mass"):
            count = options.integer("samples", samples, 2, 2**31)
            start = options.integer("seed", seed, 0, 2**63 - 1)
        found = self._call.sampled_mass(count, start)
        return SampledMass(*(self._wrap(self._call.keys_first(x)) for x in found))

    def plot(self, batch: int = 0, head: int | None = None, max_size: int = 256) -> Any:
        """Draws what was seen of one sequence with matplotlib, and gives the figure.

        A heat map of the weights, the entropy of each head where it was observed, and the mass that each key received
        where that was.

        Parameters
        ----------
        batch : int
            Which sequence.
        head : int or None
            Which head; None draws the mean over heads.
        max_size : int
            At most so many queries, evenly chosen, are rows of the map; 256 are about the pixels it has.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            A sequence or head that is not there.

        Examples
        --------
        >>> import numpy as np, fovea
        >>> q = np.random.default_rng(0).normal(size=(1, 2, 6, 4)).astype(np.float32)
        >>> out, seen = fovea.attention(q, q, q, observe=["entropy", "key_mass"])
        >>> len(seen.plot().axes) >= 3
        True
        """
        from fovea import _options as options

        with renamed("Insight.plot"):
            sequences, heads = len(self._call.q_offsets) - 1, self._call.q_shape[1]
            batch = options.integer("batch", batch, 0, sequences - 1)
            if head is not None:
                head = options.integer("head", head, 0, heads - 1)
            max_size = options.integer("max_size", max_size, 1, 2**31)
        return _plot.plot(self._call, self._raw, batch, head, max_size)


def _indices(queries: Sequence[int], count: int) -> list[int]:
    try:
        array = np.asarray(queries)
    except (TypeError, ValueError, RuntimeError):
        fail("expected queries as a list of integers", "Insight.rows")
    if array.ndim != 1 or (array.size > 0 and array.dtype.kind not in "iu"):
        fail("expected queries as a list of integers", "Insight.rows")
    result = [int(i) for i in array]
    for i in result:
        if not -count <= i < count:
            fail(f"expected queries in [{-count}, {count}), got {i}", "Insight.rows")
    return [i + count if i < 0 else i for i in result]
