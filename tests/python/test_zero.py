"""Sizes of 0: batch, heads, queries, keys and widths, with every option, answer as the definition does, and as PyTorch."""

import itertools

import numpy as np
import pytest

import fovea

SIZES = [dict(zip("bhqkde", sizes, strict=True)) for sizes in itertools.product((0, 2), (0, 2), (0, 1, 2), (0, 1, 2), (0, 2), (0, 2))
         if 0 in sizes]
DTYPES = [np.float32, np.float64, np.float16]
OBSERVE = ["entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance", "first_key", "near:1,1", "block_mass"]


def options(b, h, q, k, d, e):
    """Every option that a call of these sizes can have, by name."""
    rng = np.random.default_rng(0)
    real = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return {
        "plain": {}, "causal": dict(causal=True), "window": dict(window=(1, 0)), "softmax1": dict(normalizer="softmax1"),
        "cosine": dict(score="cosine"), "l2": dict(score="neg_sq_l2"), "lorentz": dict(score="neg_sq_lorentz"),
        "dot": dict(score="dot"), "softcap": dict(softcap=2.0), "top_k": dict(top_k=1), "dropout": dict(dropout=0.5, seed=3),
        "scales": dict(scale=real(h)), "alibi": dict(alibi=real(h) ** 2), "sinks": dict(sinks=real(h)),
        "full bias": dict(bias=real(b, h, q, k)), "shared bias": dict(bias=real(q, k)), "key bias": dict(bias=real(b, 1, 1, k)),
        "full mask": dict(mask=rng.random((b, h, q, k)) < 0.5), "head mask": dict(mask=rng.random((b, 1, q, k)) < 0.5),
        "key mask": dict(mask=np.zeros((b, 1, 1, k), bool)),
        "blocks": dict(blocks=fovea.BlockMask.window(1, 0) | fovea.BlockMask.global_tokens(1)),
        "relative": dict(relative=fovea.Relative(real(5, h), "distances")),
        "rotary": dict(rotary=fovea.Rotary()),
    }


NAMES = list(options(**dict.fromkeys("bhqkde", 2)))


def arrays(b, h, q, k, d, e, dtype):
    rng = np.random.default_rng(1)
    shapes = (b, h, q, d), (b, h, k, d), (b, h, k, e), (b, h, q, e)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def wide(x):
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def equal(got, want, what):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, what
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=0, atol=1e-2 if got.dtype == np.float16 else 1e-5,
                               err_msg=what)


def definition(q, k, v, given):
    """The reference, where it takes the option and there are rows to compute."""
    import reference

    if {"blocks", "rotary", "top_k", "dropout"} & set(given) or 0 in q.shape[:3]:
        return None
    if k.shape[2] == 0:
        return np.zeros((*q.shape[:3], v.shape[3]))
    if q.shape[3] == 0:  # no number: every product is 0, as with one number that is 0
        q, k = (np.zeros((*x.shape[:3], 1)) for x in (q, k))
    return reference.attention(q, k, v, **given).out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_sizes_of_zero_forward_backward_and_observed(name, dtype):
    for sizes in SIZES:
        given = options(**sizes)[name]
        q, k, v, dout = arrays(**sizes, dtype=dtype)
        what = f"{sizes} {name}"
        b, h, lq, lk, _, e = sizes.values()
        real = {n: wide(x) for n, x in given.items()} if dtype == np.float64 else given
        out, seen = fovea.attention(q, k, v, **real, observe=OBSERVE)
        assert out.shape == (b, h, lq, e) and out.dtype == dtype, what
        assert seen.lse.shape == seen.entropy.shape == (b, h, lq) and seen.key_mass.shape == (b, h, lk), what
        assert seen.top_k.indices.shape == (b, h, lq, 3), what
        assert seen.rows(range(lq)).shape == (b, h, lq, lk), what
        want = definition(q, k, v, given)
        if want is not None:
            equal(out, want, what)
        grads = fovea.attention_vjp(q, k, v, dout, **real)
        for n, x in dict(q=q, k=k, v=v, **real).items():
            if isinstance(x, np.ndarray) and x.dtype.kind == "f":
                got = getattr(grads, "d" + n)
                assert got.shape == x.shape and np.isfinite(got).all(), f"d{n}, {what}"
        if 0 in (b, h, lq, lk, e):  # nothing that the output depends on
            assert not any(np.any(x) for x in vars(grads).values() if isinstance(x, np.ndarray)), what


@pytest.mark.parametrize("name", NAMES)
def test_packed_sequences_of_no_tokens(name):
    for lengths in itertools.product((0, 1, 2), repeat=4):
        for h, d, e in itertools.product((0, 2), repeat=3):
            lq, lk = lengths[:2], lengths[2:]
            sizes = dict(b=2, h=h, q=max(lq), k=max(lk), d=d, e=e)
            given = options(**sizes)[name]
            rng = np.random.default_rng(5)
            q, k, v, dout = (rng.normal(size=s).astype(np.float32)
                             for s in ((sum(lq), h, d), (sum(lk), h, d), (sum(lk), h, e), (sum(lq), h, e)))
            offsets = dict(q_offsets=np.cumsum([0, *lq]), k_offsets=np.cumsum([0, *lk]))
            what = f"{lengths} {h} {d} {e} {name}"
            out, seen = fovea.attention(q, k, v, **offsets, **given, observe=OBSERVE)
            assert out.shape == (sum(lq), h, e) and np.isfinite(out).all(), what
            grads = fovea.attention_vjp(q, k, v, dout, **offsets, **given)
            assert grads.dq.shape == q.shape and grads.dk.shape == k.shape and grads.dv.shape == v.shape, what
            if name in ("dropout", "full bias", "shared bias", "full mask", "head mask", "key mask", "key bias"):
                continue  # these belong to the place in the batch, or have its longest lengths
            alone = fovea.attention(q[lq[0]:], k[lk[0]:], v[lk[0]:], **given)
            np.testing.assert_array_equal(out[lq[0]:], alone, err_msg=what)


def test_no_sequence_at_all():
    q = np.zeros((0, 2, 4), np.float32)
    for start in ([0], [0, 0]):
        out, seen = fovea.attention(q, q, q, q_offsets=start, observe=OBSERVE)
        assert out.shape == (0, 2, 4) and seen.lse.shape == (0, 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("score", ["scaled_dot", "cosine", "neg_sq_l2", "neg_sq_lorentz"])
def test_decoding_without_queries_or_keys(score, dtype):
    for queries, keys in itertools.product((0, 1, 2), repeat=2):
        cache = fovea.KvCache(2, 4, 3, dtype=dtype)
        rng = np.random.default_rng(0)
        k, v, q = (rng.normal(size=s).astype(np.float32) for s in ((keys, 2, 4), (keys, 2, 3), (queries, 4, 4)))
        cache.append(k, v)
        out, seen = fovea.attention_decode(q, cache, score=score, observe=OBSERVE)
        assert out.shape == (queries, 4, 3) and np.isfinite(out).all()
        if keys == 0:
            assert not out.any() and (seen.lse == -np.inf).all()
        two = fovea.attention_decode(np.concatenate([q, q]), [cache, cache], score=score, q_offsets=[0, queries, 2 * queries])
        np.testing.assert_array_equal(two, np.concatenate([out, out]))


def test_key_heads_without_query_heads_have_no_gradient():
    q, k = np.zeros((2, 0, 3, 4), np.float32), np.ones((2, 2, 5, 4), np.float32)
    for dtype in DTYPES:
        grads = fovea.attention_vjp(q.astype(dtype), k.astype(dtype), k.astype(dtype), q.astype(dtype))
        assert grads.dk.shape == k.shape and not grads.dk.any() and not grads.dv.any()


def like_torch(ours, theirs, inputs, what):
    """Ours answers as PyTorch's, in value and gradient, where that answers."""
    import torch

    try:
        want = theirs(*inputs)
    except (RuntimeError, ValueError, AssertionError):
        return
    got = ours(*inputs)
    assert got.shape == want.shape and got.dtype == want.dtype, what
    torch.testing.assert_close(got, want.nan_to_num(), rtol=1e-4, atol=1e-5, msg=lambda m: f"{what}: {m}")
    grads = (torch.autograd.grad(x.sum(), inputs, materialize_grads=True) for x in (got, want))
    for x, y in zip(*grads, strict=True):
        torch.testing.assert_close(x, y.nan_to_num(), rtol=1e-4, atol=1e-5, msg=lambda m: f"gradient, {what}: {m}")


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "hides all", "float", "keys", "heads", "full", "pairs"])
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_scaled_dot_product_attention_of_sizes_of_zero(rank, mask):
    torch = pytest.importorskip("torch")
    import fovea.torch

    theirs = torch.nn.functional.scaled_dot_product_attention
    for sizes in SIZES:
        if rank != 4 and 1 in sizes.values():
            continue
        b, h, q, k, d, e = sizes.values()
        lead = ((), (h,), (b, h), (b, 2, h))[rank - 2]
        torch.manual_seed(0)
        inputs = [torch.randn(*lead, *shape, requires_grad=True) for shape in ((q, d), (k, d), (k, e))]
        masks = {
            "bool": lambda: torch.ones(q, k, dtype=torch.bool), "hides all": lambda: torch.zeros(q, k, dtype=torch.bool),
            "float": lambda: torch.randn(q, k), "keys": lambda: torch.randn(1, k), "heads": lambda: torch.randn(*lead[:-1], 1, q, k),
            "full": lambda: torch.randn(*lead, q, k), "pairs": lambda: torch.ones(*lead[:-1], 1, q, k, dtype=torch.bool),
        }
        given = dict(attn_mask=masks[mask]()) if mask in masks else {}
        call = dict(is_causal=mask == "causal", **given)
        like_torch(lambda *x: fovea.torch.scaled_dot_product_attention(*x, **call), lambda *x: theirs(*x, **call), inputs,
                   f"{sizes} {rank} {mask}")


@pytest.mark.parametrize("options", [{}, dict(add_bias_kv=True), dict(add_zero_attn=True), dict(kdim=3, vdim=2)], ids=str)
def test_multihead_attention_of_sizes_of_zero(options):
    torch = pytest.importorskip("torch")
    import fovea.torch

    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True, **options)
    ours = fovea.torch.MultiheadAttention(4, 2, batch_first=True, **options)
    ours.load_state_dict(theirs.state_dict())
    for b, q, k in itertools.product((0, 1, 2), repeat=3):
        shapes = (b, q, 4), (b, k, options.get("kdim", 4)), (b, k, options.get("vdim", 4))
        inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
        for weights, name in itertools.product((False, True), ("none", "pairs", "keys", "float")):
            masks = dict(none={}, pairs=dict(attn_mask=torch.zeros(q, k, dtype=torch.bool)), float=dict(attn_mask=torch.randn(q, k)),
                         keys=dict(key_padding_mask=torch.zeros(b, k, dtype=torch.bool)))[name]
            for part in range(2 if weights else 1):
                like_torch(lambda *x: ours(*x, need_weights=weights, **masks)[part],  # noqa: B023
                           lambda *x: theirs(*x, need_weights=weights, **masks)[part], inputs,  # noqa: B023
                           f"{b} {q} {k} {name} {options} {weights} {part}")


def test_encoder_layer_of_sizes_of_zero():
    torch = pytest.importorskip("torch")
    import fovea.torch

    torch.manual_seed(0)
    theirs, ours = (torch.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True) for _ in range(2))
    ours.self_attn = fovea.torch.MultiheadAttention(4, 2, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    for b, length in itertools.product((0, 1, 2), repeat=2):
        x = torch.randn(b, length, 4, requires_grad=True)
        for masks in ({}, dict(src_mask=torch.zeros(length, length)), dict(src_key_padding_mask=torch.zeros(b, length, dtype=torch.bool))):
            like_torch(lambda x: ours(x, **masks), lambda x: theirs(x, **masks), [x], f"{b} {length} {list(masks)}")  # noqa: B023


@pytest.mark.parametrize("name", ["plain", "causal", "full bias", "key mask", "sinks", "alibi", "top_k", "relative"])
def test_jax_and_torch_arrays_of_sizes_of_zero(name):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    import fovea.jax

    for sizes in SIZES:
        given = options(**sizes)[name]
        q, k, v, dout = arrays(**sizes, dtype=np.float32)
        what = f"{sizes} {name}"
        out, grads = fovea.attention(q, k, v, **given), fovea.attention_vjp(q, k, v, dout, **given)
        call = jax.jit(lambda *x: fovea.jax.attention(*x, **given))  # noqa: B023
        got, back = jax.vjp(call, q, k, v)
        np.testing.assert_array_equal(got, out, err_msg=what)
        tensors = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
        result = fovea.attention(*tensors, **given)
        np.testing.assert_array_equal(result.detach(), out, err_msg=what)
        for x, y, z in zip(back(dout), torch.autograd.grad(result, tensors, torch.tensor(dout)), (grads.dq, grads.dk, grads.dv), strict=True):
            np.testing.assert_array_equal(x, z, err_msg=what)
            np.testing.assert_array_equal(y, z, err_msg=what)
