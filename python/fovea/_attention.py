"""fovea.attention and fovea.attention_vjp."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Sequence, overload

from fovea import _options as options
from fovea._blocks import BlockMask
from fovea._call import Call
from fovea._gradients import Gradients
from fovea._insight import Insight
from fovea._kinds import DTYPES, dtype_of, fail, from_numpy, kind_of, recorded, stands_for_arrays, to_numpy
from fovea._override import Override
from fovea._relative import Relative
from fovea._rotary import Rotary
from fovea._types import A, Keywords, Window

if TYPE_CHECKING:
    from fovea._types import Unpack


@overload
def attention(q: A, k: A, v: A, *, observe: None = None, **keywords: Unpack[Keywords]) -> A: ...
@overload
def attention(q: A, k: A, v: A, *, observe: Sequence[str], **keywords: Unpack[Keywords]) -> tuple[A, Insight[A]]: ...


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    score: str = "scaled_dot",
    normalizer: str = "softmax",
    scale: Any = None,
    causal: bool = False,
    window: Window = None,
    mask: Any = None,
    bias: Any = None,
    blocks: BlockMask | None = None,
    alibi: Any = None,
    softcap: float | None = None,
    sinks: Any = None,
    top_k: int | None = None,
    dropout: float = 0.0,
    seed: Any = 0,
    q_offsets: Any = None,
    k_offsets: Any = None,
    relative: Relative | None = None,
    rotary: Rotary | None = None,
    override: Override | None = None,
    key_sets: Any = None,
    precision: str = "strict",
    observe: Sequence[str] | None = None,
) -> Any:
    """Attention, fused: memory grows with the tokens, and what happened inside can be seen.

    For each query ``out_i = Σ_j w_ij·v_j``, with ``w_i`` the softmax of its scores; the order is score, × scale,
    softcap, + bias, − slope·|i − j| and + table[j − i], masks, top k, softmax (a sink enters its denominator), dropout, · V. A query without
    keys gives 0 and lse −inf.

    Parameters
    ----------
    q, k, v : NumPy, PyTorch or JAX arrays on the CPU, all of one kind and of one type
        ``[B, H, L, D]``, or packed ``[T, H, D]``: sequences one after the other, at `q_offsets` and `k_offsets`.
        The heads of k and v may be fewer and divide those of q; D and Dv may differ, each up to 1,024. Every
        size may be 0: a D of 0 scores 0, so that a query's output is the mean of what it sees. Any strides are read without a
        copy if the innermost is 1.
    score : ``"scaled_dot"``, ``"dot"``, ``"cosine"``, ``"neg_sq_l2"`` or ``"neg_sq_lorentz"``
        q·k, q·k / (|q|·|k|), −|q − k|², or 2 + 2(q·k − √(1 + |q|²)·√(1 + |k|²)), minus the squared distance of the
        Lorentz model of hyperbolic space (Law et al., 2019).
    normalizer : ``"softmax"`` or ``"softmax1"``
        Softmax is the default, which trained models expect. Softmax-one has a 1 more in the denominator, so that a head
        may attend to nothing (Miller, 2023).
    scale : float, or ``[H]``
        Default 1/√D for ``"scaled_dot"``, 1 for the others. A PyTorch tensor of either form gets its gradient.
    causal : bool
        Off by default, as encoders need it. Query i sees the keys up to i + Lk − Lq: aligned to the last query and the last key, so that one query with a
        cache of keys sees all of them.
    window : (left, right)
        At most so many keys before and after the query's own place, aligned in the same way; −1 is unbounded.
    mask : bool, broadcastable to ``[B, H, Lq, Lk]``
        True attends. Packed: ``[N, H, longest q, longest k]``, indices within the sequence.
    bias : float, broadcastable likewise
        Added to the scaled score; −inf masks.
    blocks : :class:`fovea.BlockMask`
        A block-sparse pattern; what it skips costs nothing.
    alibi : ``[H]``
        Slopes: adds −slope·|i − j| (Press et al., 2022).
    relative : :class:`fovea.Relative`
        A trainable bias by distance: T5's buckets, or a row a distance.
    softcap : float
        c·tanh(s / c) bounds the scores (Gemma 2, 2024); None, the default, or 0 does not.
    sinks : ``[H]``
        One more logit in the denominator of each head, without a value, so that a head may attend to nothing (Xiao et al.,
        2023). Not together with softmax-one, which has one of 0.
    top_k : int >= 1
        Each query keeps its k strongest keys, after bias and mask, ties to the lower index; a k beyond the keys that it
        sees keeps all of these, and None keeps all (faster). lse and insights are of the kept ones, gradients flow
        through them alone (Gupta et al., 2021).
    dropout : float in [0, 1)
        Probability of dropping each weight, rounded to a multiple of 2⁻¹⁶; the others are scaled by 1/(1 − dropout). 0 by
        default: a call does not know whether it trains.
    seed : int
        Of the dropout: the same seed drops the same weights, whatever the number of threads.
    q_offsets, k_offsets : int ``[N + 1]``
        Packed form: sequence n is tokens ``q_offsets[n]`` to ``q_offsets[n + 1]``. q_offsets alone serves both sides.
    rotary : :class:`fovea.Rotary`
        Turns q and k by their positions, aligned to the last query and the last key.
    override : :class:`fovea.Override`
        A pattern from outside in place of some heads' own. Gradients are those through what was put in place; bias,
        alibi, relative, sinks and scale have none then (asking for one raises). Not together with `top_k`.
    key_sets : int ``[Lk]`` or ``[B, Lk]``, packed ``[Tk]``
        The set of each key, 0 to 63, or −1 for none, of which ``observe=["key_sets"]`` tells the mass.
    precision : ``"strict"``, ``"high"`` or ``"fast"``
        How float32 arrays are multiplied: in float32, the default, so that nobody loses digits unasked; as three bfloat16
        products, where that is faster; rounded to bfloat16, where the processor multiplies those. Sums are float32.
        ``fovea info --attention`` tells what runs.
    observe : list of names
        ``"entropy"``, ``"max"``, ``"key_mass"``, ``"top_k:8"``, ``"effective_keys"``, ``"distance"``,
        ``"first_key"``, ``"near:left,right"``, ``"key_sets"``, ``"block_mass"``; also an empty list gives an
        :class:`Insight`, with the lse and exact rows on demand. The output has the same bits with and without.

    Returns
    -------
    array or (array, Insight)
        ``[B, H, L, Dv]``, packed ``[T, H, Dv]``, of the same kind as q. PyTorch tensors that require a gradient get
        one.

    Raises
    ------
    ValueError
        An argument does not fit; the message names it, what was expected and what was found.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> rng = np.random.default_rng(0)
    >>> q, k, v = (rng.normal(size=(2, 4, 16, 32)).astype(np.float32) for _ in range(3))
    >>> out, seen = fovea.attention(q, k, v, causal=True, observe=["entropy", "top_k:3"])
    >>> out.shape, seen.entropy.shape, seen.top_k.indices.shape
    ((2, 4, 16, 32), (2, 4, 16), (2, 4, 16, 3))

    Two sequences, of 3 and 5 tokens, packed:

    >>> q = rng.normal(size=(8, 4, 32)).astype(np.float32)
    >>> fovea.attention(q, q, q, q_offsets=[0, 3, 8]).shape
    (8, 4, 32)
    """
    keywords = dict(
        score=score,
        normalizer=normalizer,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        blocks=blocks,
        alibi=alibi,
        softcap=softcap,
        sinks=sinks,
        top_k=top_k,
        dropout=dropout,
        seed=seed,
        q_offsets=q_offsets,
        k_offsets=k_offsets,
        relative=relative,
        rotary=rotary,
        override=override,
        key_sets=key_sets,
        precision=precision,
    )
    return attend(q, k, v, keywords, observe)


def attend(q: Any, k: Any, v: Any, keywords: dict[str, Any], observe: Any = None) -> Any:
    """The call, with the keywords of :func:`attention` and `from_start`."""
    if stands_for_arrays(q, k, v):
        return recorded(attention, q, k, v, {**keywords, "observe": observe})
    kind = kind_of_all(q, k, v)
    if kind == "jax":
        from fovea import _jax as fovea_jax

        if fovea_jax.traced(q, k, v, keywords):
            return fovea_jax.attention(q, k, v, **keywords, observe=observe)
    if kind == "torch":
        from fovea.torch import _watched

        keywords["scale"] = _watched.scale_of_heads(keywords.get("scale"), q)
    given, arrays = options.split(keywords)
    wishes = options.Observe() if observe is None else options.observe(observe)
    if kind == "torch":
        from fovea.torch import _eager

        _watched.check_transforms(q, k, v)
        if _watched.needed(q, k, v, arrays):
            return _eager.attention(q, k, v, given, arrays, None if observe is None else wishes)
    call = _call(q, k, v, given, arrays)
    out, seen = call.forward(wishes)
    result = from_numpy(out, kind, call.dtype, q)
    return result if observe is None else (result, Insight(call, seen, partial(from_numpy, kind=kind)))


def attention_vjp(q: A, k: A, v: A, dout: A, *, dlse: A | None = None, **keywords: Unpack[Keywords]) -> Gradients[A]:
    """The gradients of Σ dout∘out + Σ dlse·lse for ``out, seen = attention(q, k, v, **keywords, observe=[])``.

    For arrays that are not PyTorch's, whose autograd does this by itself. The weights are computed again from q, k and
    what the softmax left of each row, so that memory grows with the tokens (Dao et al., "FlashAttention", 2022).

    Parameters
    ----------
    q, k, v : arrays
        As for :func:`fovea.attention`.
    dout : array of the output's kind, type and shape
        The gradient of the output.
    dlse : array of the kind and shape of ``seen.lse``
        The gradient of the log-sum-exp, if that enters the loss; none by default.
    **keywords
        As for :func:`fovea.attention`, without `observe`; the same `seed` drops the same weights.

    Returns
    -------
    Gradients
        dq, dk, dv and, where given, dbias, dalibi, drelative, dsinks, and dscale for a scale a head.

    Raises
    ------
    ValueError
        An argument does not fit; the message names it, what was expected and what was found.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 8)).astype(np.float32)
    >>> grads = fovea.attention_vjp(q, k, v, np.ones_like(q), sinks=[0.0, 1.0])
    >>> grads.dq.shape, grads.dsinks.shape
    ((1, 2, 5, 8), (2,))
    """
    if stands_for_arrays(q, k, v, dout):
        return recorded(attention_vjp, q, k, v, dict(dout=dout, dlse=dlse, **keywords))
    kind = kind_of_all(q, k, v)
    if kind_of(dout) != kind or dtype_of(dout) != dtype_of(q):
        fail(f"expected dout of q's kind and type, got {type(dout).__name__}", "attention_vjp")
    if dlse is not None and kind_of(dlse) != kind:
        fail(f"expected dlse of q's kind, got {type(dlse).__name__}", "attention_vjp")
    unknown = set(keywords) - options.KEYWORDS
    if unknown:
        raise TypeError(f"attention_vjp() got an unexpected keyword argument {min(unknown)!r}")
    given, arrays = options.split(dict(keywords))
    if kind == "torch":
        from fovea.torch import _eager, _watched

        _watched.check_transforms(q, k, v, dout)
        if _watched.watched(q, k, v):
            return Gradients(**_eager.vjp(q, k, v, dout, given, arrays, dlse))
    call = _call(q, k, v, given, arrays)
    out, seen = call.forward(options.Observe())
    rows = None if dlse is None else to_numpy(dlse, "dlse")
    gradients = call.backward(out, seen["saved"], to_numpy(dout, "dout"), dlse=rows)
    return Gradients(
        **{name: from_numpy(x, kind, call.dtype if name in ("dq", "dk", "dv") else None, q) for name, x in gradients.items()}
    )


def kind_of_all(q: Any, k: Any, v: Any) -> str:
    kinds = [kind_of(x) for x in (q, k, v)]
    if kinds[0] is None or kinds[1] != kinds[0] or kinds[2] != kinds[0]:
        names = ", ".join(type(x).__name__ for x in (q, k, v))
        fail(f"expected q, k and v all as NumPy, all as PyTorch or all as JAX arrays, got {names}")
    dtypes = [dtype_of(x) for x in (q, k, v)]
    if dtypes[0] not in DTYPES or dtypes[1] != dtypes[0] or dtypes[2] != dtypes[0]:
        fail(f"expected q, k and v all of one type out of {', '.join(DTYPES)}, got {', '.join(dtypes)}")
    return str(kinds[0])


def _call(q: Any, k: Any, v: Any, given: options.Options, arrays: dict[str, Any]) -> Call:
    return Call(to_numpy(q, "q"), to_numpy(k, "k"), to_numpy(v, "v"), dtype_of(q), given, **arrays)
