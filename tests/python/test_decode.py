"""Decoding on caches equals attention on the whole keys."""

import pathlib
import sys

import numpy as np
import pytest
from cases import normal

import fovea

# What storing numbers below 5 costs: half a unit in the last place of each, through the softmax and the mean.
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-2, "int8": 1e-1}


def filled(k, v, **keywords):
    cache = fovea.KvCache(k.shape[1], k.shape[2], v.shape[2], **keywords)
    for begin in range(0, len(k), 7):
        cache.append(k[begin : begin + 7], v[begin : begin + 7])
    return cache


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        dict(softcap=2.0, sinks=[0.5] * 4),
        dict(alibi=[0.1] * 4, window=(20, 0)),
        dict(score="dot", scale=0.2),
        dict(score="cosine", scale=4.0),
        dict(score="neg_sq_l2", scale=0.05),
        dict(score="neg_sq_lorentz", scale=0.05),
    ],
)
def test_decoding_equals_attention(dtype, keywords):
    rng = np.random.default_rng(1)
    k, v = normal(rng, 50, 2, 16), normal(rng, 50, 2, 24)
    for count in (1, 3):
        q = normal(rng, count, 4, 16)
        cache = filled(k, v, dtype=dtype, block=16)
        out, seen = fovea.attention_decode(q, cache, **keywords, observe=["entropy", "top_k:2", "key_mass"])
        expected, whole = fovea.attention(q, k, v, causal=True, **keywords, observe=["entropy", "top_k:2", "key_mass"])
        np.testing.assert_allclose(out, expected, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(seen.lse, whole.lse, atol=TOLERANCE[dtype])
        np.testing.assert_allclose(seen.entropy, whole.entropy, atol=2 * TOLERANCE[dtype])
        np.testing.assert_allclose(seen.key_mass, whole.key_mass, atol=TOLERANCE[dtype])
        if dtype == "float32":
            assert (seen.top_k.indices == whole.top_k.indices).all()


@pytest.mark.parametrize("k", (1, 64, 65, 149, 150, 151, 10**6))
def test_caches_give_lists_of_any_length(k):
    rng = np.random.default_rng(3)
    keys, values = rng.integers(-2, 3, size=(150, 2, 8)).astype(np.float32), normal(rng, 150, 2, 8)
    q = rng.integers(-2, 3, size=(3, 4, 8)).astype(np.float32)
    q[..., 1:] = 0  # one product a score: equal ones are equal, whoever computes them
    for keywords in ({}, dict(sinks=[300.0] * 4)):  # beside such a sink every weight is 0
        keywords = dict(keywords, score="dot")
        _, seen = fovea.attention_decode(q, filled(keys, values, block=16), **keywords, observe=[f"top_k:{k}", "max"])
        _, whole = fovea.attention(q, keys, values, causal=True, **keywords, observe=[f"top_k:{k}", "max"])
        np.testing.assert_array_equal(seen.top_k.indices, whole.top_k.indices)
        np.testing.assert_array_equal(seen.max_key, whole.max_key)
        np.testing.assert_allclose(seen.top_k.weights, whole.top_k.weights, rtol=0, atol=1e-6)


def test_batches_read_each_its_own_cache():
    rng = np.random.default_rng(2)
    lengths = (5, 40, 129)
    data = [(normal(rng, n, 2, 8), normal(rng, n, 2, 8)) for n in lengths]
    caches = [filled(k, v) for k, v in data]
    q = normal(rng, 3, 4, 2, 8)
    out = fovea.attention_decode(q, caches)
    assert out.shape == (3, 4, 2, 8)
    for n, (k, v) in enumerate(data):
        alone = fovea.attention_decode(q[n].transpose(1, 0, 2), caches[n])
        assert alone.tobytes() == np.ascontiguousarray(out[n].transpose(1, 0, 2)).tobytes()
        np.testing.assert_allclose(alone, fovea.attention(q[n].transpose(1, 0, 2), k, v, causal=True), atol=1e-5)


def test_forks_share_pages_until_they_differ():
    rng = np.random.default_rng(3)
    k, v, q = normal(rng, 20, 1, 8), normal(rng, 20, 1, 8), normal(rng, 1, 1, 8)
    cache = filled(k, v)
    before = fovea.attention_decode(q, cache)
    fork = cache.fork()
    fork.append(k[:1], v[:1])
    assert (len(cache), len(fork)) == (20, 21)
    assert (fovea.attention_decode(q, cache) == before).all()
    longer = fovea.attention(q, np.concatenate([k, k[:1]]), np.concatenate([v, v[:1]]))
    np.testing.assert_allclose(fovea.attention_decode(q, fork), longer, atol=1e-5)


def test_windows_and_eviction_drop_the_oldest():
    rng = np.random.default_rng(4)
    k, v, q = normal(rng, 60, 1, 8), normal(rng, 60, 1, 8), normal(rng, 1, 1, 8)
    cache = filled(k, v, window=25, block=8)
    assert len(cache) == 25 and cache.position == 35
    np.testing.assert_allclose(fovea.attention_decode(q, cache), fovea.attention(q, k[35:], v[35:]), atol=1e-5)
    cache.evict(5)
    np.testing.assert_allclose(fovea.attention_decode(q, cache), fovea.attention(q, k[40:], v[40:]), atol=1e-5)
    assert "20 tokens" in repr(cache) and cache.nbytes > 0


def test_pytorch_tensors_and_16_bit_keys():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: caches of its tensors are not tested")
    k, q = torch.randn(1, 2, 30, 8), torch.randn(1, 4, 1, 8)
    cache = fovea.KvCache(2, 8, dtype="bfloat16")
    cache.append(k.bfloat16(), k.bfloat16())
    out = fovea.attention_decode(q, cache)
    assert isinstance(out, torch.Tensor) and out.shape == (1, 4, 1, 8)
    torch.testing.assert_close(out, fovea.attention(q, k, k), rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_queries_are_widened_and_rounded_once(dtype):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    k = torch.randn(40, 2, 16, generator=generator)
    q = torch.randn(1, 4, 3, 16, generator=generator).to(getattr(torch, dtype))
    for kept in ("float32", dtype, "int8"):
        cache = fovea.KvCache(2, 16, dtype=kept)
        cache.append(k.to(q.dtype), k)
        out, seen = fovea.attention_decode(q, cache, observe=["max"])
        precision = "fast" if dtype == "bfloat16" else "strict"  # as bfloat16 queries are multiplied
        wide, same = fovea.attention_decode(q.float(), cache, observe=["max"], precision=precision)
        assert out.dtype == q.dtype and out.shape == q.shape and torch.equal(out, wide.to(q.dtype))
        assert torch.equal(seen.max, same.max) and seen.lse.dtype == torch.float32


EVERYTHING = ["entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance", "first_key", "near:4,0", "key_sets",
              "block_mass"]  # fmt: skip


def test_every_observer_sees_what_it_sees_of_attention(tmp_path):
    rng = np.random.default_rng(5)
    lengths, count = (70, 9), 3
    data = [(normal(rng, n, 2, 16), normal(rng, n, 2, 8)) for n in lengths]
    caches = [filled(k, v) for k, v in data]
    q = normal(rng, 2, 4, count, 16)
    sets = rng.integers(-1, 3, size=sum(lengths))
    relative = fovea.Relative(normal(rng, 8, 4), max_distance=30, bidirectional=False)
    keywords = dict(relative=relative, normalizer="softmax1", window=(50, 0))
    out, seen = fovea.attention_decode(q, caches, key_sets=sets, **keywords, observe=EVERYTHING)
    assert out.tobytes() == fovea.attention_decode(q, caches, **keywords).tobytes()
    for n, (k, v) in enumerate(data):
        at = slice(sum(lengths[:n]), sum(lengths[: n + 1]))
        k, v = (x.transpose(1, 0, 2)[None] for x in (k, v))
        expected, whole = fovea.attention(
            q[n : n + 1], k, v, key_sets=sets[at], causal=True, **keywords, observe=EVERYTHING
        )
        # As what decoding's own test states: sums over at most 70 keys of numbers below 5, off by some units of float32.
        near = dict(rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(out[n : n + 1], expected, **near)
        for name in ("entropy", "max", "effective_keys", "distance", "first_key_mass", "near_mass", "set_mass"):
            np.testing.assert_allclose(getattr(seen, name)[n : n + 1], getattr(whole, name), **near, err_msg=name)
        assert (seen.top_k.indices[n] == whole.top_k.indices[0]).all() and (seen.max_key[n] == whole.max_key[0]).all()
        np.testing.assert_allclose(seen.key_mass[at].T[None], whole.key_mass, **near)
        np.testing.assert_allclose(seen.block_mass[n], whole.block_mass[0], **near)
        np.testing.assert_allclose(seen.rows([2, 0])[n], whole.rows([2, 0])[0], **near)
    pytest.importorskip("matplotlib")
    assert [x.get_title() for x in seen.plot(batch=1, head=2).axes][:1] == ["head 2"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda c, q: fovea.KvCache(0, 8), r"expected kv_heads in \[1, "),
        (lambda c, q: fovea.KvCache(1, 8, dtype="int4"), "expected dtype out of 'float32'"),
        (lambda c, q: fovea.KvCache(1, 5000), "expected"),
        (lambda c, q: c.append(q[0], q), r"\[KvCache.append\] expected k as \[n, Hkv, D\]"),
        (lambda c, q: c.append(q[..., :4], q), "expected"),
        (lambda c, q: c.append("a", q), "expected k as a NumPy"),
        (lambda c, q: c.evict(4), "expected"),
        (lambda c, q: fovea.attention_decode(q, [c, c]), "expected a cache for each of the 1 sequences, got 2"),
        (lambda c, q: fovea.attention_decode(q, None), "expected caches as a KvCache or a list of them"),
        (lambda c, q: fovea.attention_decode(q.astype("f8"), c), "expected q as a float32, bfloat16 or float16 array, got float64"),
        (lambda c, q: fovea.attention_decode(q[..., :4], c), "expected"),
        (lambda c, q: fovea.attention_decode(q, c, observe=[])[1].sampled_key_mass(), r"on caches observe=\['key_mass'\]"),
        (lambda c, q: (fovea.attention_decode(q, c, observe=[])[1], c.append(q, q))[0].rows([0]), "got changed ones"),
        (lambda c, q: fovea.attention_decode(q, c, scale=[1.0]), "expected scale as one number"),
        (lambda c, q: fovea.attention_decode(q, c, relative=3), "expected relative as a fovea.Relative, got int"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    cache, q = fovea.KvCache(1, 8), np.ones((1, 1, 8), np.float32)
    cache.append(q, q)
    with pytest.raises(ValueError, match=message):
        call(cache, q)


def test_gradients_are_refused_instead_of_lost():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    cache, x = fovea.KvCache(2, 8), torch.ones(3, 2, 8, requires_grad=True)
    with pytest.raises(ValueError, match=r"\[KvCache.append\] expected k without a gradient, .* torch.no_grad"):
        cache.append(x, x)
    with torch.no_grad():
        cache.append(x, x)
        fovea.attention_decode(x[:1], cache), fovea.Rotary()(x)
    with pytest.raises(ValueError, match=r"\[attention_decode\] expected q without a gradient"):
        fovea.attention_decode(x[:1], cache)
    for call, text in (
        (lambda: fovea.KvCache(0, 8), "[KvCache] expected kv_heads in [1,"),
        (lambda: fovea.attention_decode(np.ones((1, 2, 8), np.float32), cache, score="?"), "[attention_decode] expected score"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value).startswith(text)


# On int8 caches 16 bits of each row's largest number: 2^-16 of it, through the softmax and the mean.
@pytest.mark.parametrize("dtype, tolerance", [("float32", 0.0), ("float16", 0.0), ("bfloat16", 2e-2), ("int8", 2e-3)])
def test_fast_decoding_rounds_to_16_bits(dtype, tolerance):
    rng = np.random.default_rng(3)
    k, v, q = normal(rng, 300, 2, 32), normal(rng, 300, 2, 32), normal(rng, 4, 4, 32)
    cache = filled(k, v, dtype=dtype)
    strict = fovea.attention_decode(q, cache)
    fast = fovea.attention_decode(q, cache, precision="fast")
    assert np.abs(fast - strict).max() <= tolerance
    flags = pathlib.Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    needed = {"int8": "avx2", "bfloat16": "avx512_bf16"}.get(dtype)
    if needed in flags.split():
        assert not np.array_equal(fast, strict)  # it is used
    elif needed is None:
        assert np.array_equal(fast, strict)
    assert np.array_equal(fovea.attention_decode(q, cache, precision="high"), strict)


def test_decoding_names_a_wrong_precision():
    rng = np.random.default_rng(3)
    k = normal(rng, 5, 1, 16)
    with pytest.raises(ValueError, match=r"\[attention_decode\] expected precision out of 'strict', 'high', 'fast', got 'exact'"):
        fovea.attention_decode(k[-1:], filled(k, k), precision="exact")
