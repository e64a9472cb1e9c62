"""JAX arrays in, JAX arrays out, and JAX's transformations of the call."""

import doctest
import gc

import numpy as np
import pytest
from cases import normal

import fovea

jax = pytest.importorskip("jax", reason="JAX is not installed: its arrays are not tested")
import fovea.jax  # noqa: E402


def arrays(dtype="float32"):
    rng = np.random.default_rng(1)
    plain = [normal(rng, 2, 4, 20, 16) for _ in range(3)]
    return plain, [jax.numpy.asarray(x, dtype=dtype) for x in plain]


def test_results_are_jax_arrays_with_the_same_bits():
    plain, given = arrays()
    out, seen = fovea.attention(*given, causal=True, observe=["max", "top_k:2"])
    assert isinstance(out, jax.Array) and isinstance(seen.lse, jax.Array) and isinstance(seen.rows([1]), jax.Array)
    assert seen.top_k.indices.dtype == jax.numpy.int32
    assert np.asarray(out).tobytes() == fovea.attention(*plain, causal=True).tobytes()
    grads = fovea.attention_vjp(*given, given[2], causal=True)
    assert isinstance(grads.dk, jax.Array)
    assert np.asarray(grads.dk).tobytes() == fovea.attention_vjp(*plain, plain[2], causal=True).dk.tobytes()


def test_bfloat16():
    plain, given = arrays("bfloat16")
    out = fovea.attention(*given)
    assert out.dtype == jax.numpy.bfloat16
    np.testing.assert_allclose(np.asarray(out, np.float32), fovea.attention(*plain), atol=0.05)


def keywords_of(rng):
    """Every array that has a gradient, and a mask, which has none."""
    return dict(
        bias=jax.numpy.asarray(normal(rng, 4, 20, 20)),
        sinks=jax.numpy.asarray(normal(rng, 4)),
        alibi=jax.numpy.asarray(abs(normal(rng, 4))),
        scale=jax.numpy.asarray(abs(normal(rng, 4))),
        relative=jax.numpy.asarray(normal(rng, 5, 4)),
        mask=jax.numpy.asarray(rng.random((20, 20)) < 0.8),
    )


def call(q, k, v, relative=None, **keywords):
    if relative is not None:
        keywords["relative"] = fovea.Relative(relative, "distances")
    return fovea.attention(q, k, v, causal=True, **keywords)


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_have_the_bits_of_attention_vjp(jit):
    rng = np.random.default_rng(2)
    q, k, v, dout = (jax.numpy.asarray(normal(rng, 2, heads, 20, 16)) for heads in (4, 2, 2, 4))
    keywords = keywords_of(rng)
    mask = keywords.pop("mask")

    def loss(q, k, v, keywords):
        return (call(q, k, v, mask=mask, **keywords) * dout).sum()

    grad = jax.grad(loss, (0, 1, 2, 3))
    *heads, arrays = (jax.jit(grad) if jit else grad)(q, k, v, keywords)
    relative = fovea.Relative(keywords.pop("relative"), "distances")
    expected = fovea.attention_vjp(q, k, v, dout, causal=True, mask=mask, relative=relative, **keywords)
    for name, got in (*zip("qkv", heads), *arrays.items()):
        assert np.asarray(got).tobytes() == np.asarray(getattr(expected, f"d{name}")).tobytes(), name


def test_gradients_equal_those_of_the_definition_in_jax():
    jnp = jax.numpy
    q, k, v = arrays()[1]
    rng = np.random.default_rng(3)
    bias, scale = jnp.asarray(normal(rng, 20, 20)), 3.0

    def plain(q, k, v, bias, scale):
        q, k = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k))
        return jnp.square(jax.nn.softmax(scale * q @ k.mT + bias, axis=-1) @ v).sum()

    def ours(q, k, v, bias, scale):
        return jnp.square(fovea.attention(q, k, v, score="cosine", bias=bias, scale=scale)).sum()

    given = (q, k, v, bias, scale)
    wanted = tuple(range(5))
    for got, want in zip(jax.jit(jax.grad(ours, wanted))(*given), jax.grad(plain, wanted)(*given)):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


def test_only_what_is_asked_for_is_computed(monkeypatch):
    q, k, v = arrays()[1]
    asked = []
    backward = fovea._call.Call.backward

    def watched(self, out, lse, dout, wanted):
        asked.append(wanted)
        return backward(self, out, lse, dout, wanted)

    monkeypatch.setattr(fovea._call.Call, "backward", watched)
    bias = jax.numpy.ones((20, 20))
    jax.grad(lambda q: fovea.attention(q, k, v, bias=bias).sum())(q).block_until_ready()
    jax.grad(lambda q, bias: fovea.attention(q, k, v, bias=bias).sum(), (0, 1))(q, bias)[1].block_until_ready()
    assert asked == [[], ["bias"]]


def test_transformations_compose():
    q, k, v = arrays()[1]
    whole = fovea.attention(q, k, v, causal=True)

    def one(q, k, v):  # of a batch
        return fovea.attention(q[None], k[None], v[None], causal=True)[0]

    assert np.array_equal(jax.vmap(one)(q, k, v), whole)
    dq = jax.grad(lambda q: fovea.attention(q, k, v, causal=True).sum())(q)
    assert np.array_equal(jax.jit(jax.vmap(jax.grad(lambda q, k, v: one(q, k, v).sum())))(q, k, v), dq)
    assert np.array_equal(jax.grad(jax.checkpoint(lambda q: fovea.attention(q, k, v, causal=True).sum()))(q), dq)

    def layers(q):
        return jax.lax.scan(lambda x, _: (fovea.attention(x, k, v, causal=True), None), q, None, length=2)[0]

    assert np.array_equal(jax.jit(layers)(q), fovea.attention(whole, k, v, causal=True))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_arrays_under_jit(dtype):
    q, k, v = arrays(dtype)[1]
    out, pull = jax.vjp(jax.jit(lambda q, k, v: fovea.attention(q, k, v)), q, k, v)
    assert out.dtype == dtype and np.array_equal(out, fovea.attention(q, k, v))
    expected = fovea.attention_vjp(q, k, v, out)
    for got, name in zip(pull(out), ("dq", "dk", "dv")):
        assert got.dtype == dtype and np.array_equal(got, getattr(expected, name))


def test_offsets_and_seeds_may_be_traced_and_objects_live_as_long_as_what_was_compiled():
    x = jax.numpy.asarray(normal(np.random.default_rng(0), 11, 4, 8))
    traces = []

    @jax.jit
    def packed(x, offsets, seed):
        traces.append(1)
        return fovea.attention(x, x, x, q_offsets=offsets, dropout=0.25, seed=seed)

    for offsets, seed in ((np.array([0, 4, 11]), 3), (np.array([0, 1, 11]), 4)):
        expected = fovea.attention(x, x, x, q_offsets=offsets, dropout=0.25, seed=seed)
        assert np.array_equal(packed(x, offsets, seed), expected)
    assert len(traces) == 1
    with pytest.raises(Exception, match="expected q_offsets to ascend from 0 to the 11 tokens"):
        packed(x, np.array([0, 4, 12]), 3).block_until_ready()

    def blocked(x):
        return fovea.attention(x, x, x, blocks=fovea.BlockMask.window(2, 0), rotary=fovea.Rotary())

    compiled = jax.jit(blocked)
    first = compiled(x)
    gc.collect()
    assert np.array_equal(compiled(x), first) and np.array_equal(first, blocked(x))


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("k and v of equal length", lambda q: fovea.attention(q, q, q[:, :, :5])),
        ("bias broadcastable", lambda q: fovea.attention(q, q, q, bias=q[0, 0])),
        ("sinks with one number for each of the 4 heads", lambda q: fovea.attention(q, q, q, sinks=q[0, 0, 0])),
        ("mask as booleans", lambda q: fovea.attention(q, q, q, mask=q[0, 0, :, :1])),
        ("softcap as a number", lambda q: fovea.attention(q, q, q, softcap=q[0, 0, 0, 0])),
        ("observe outside of JAX's transformations", lambda q: fovea.attention(q, q, q, observe=["max"])),
        ("key_sets together with observe", lambda q: fovea.attention(q, q, q, key_sets=[0] * 20)),
        ("q, k and v all as", lambda q: fovea.jax.attention(np.ones(q.shape, np.float32), q, q)),
    ],
)
def test_what_does_not_fit_is_said_while_tracing(text, wrong):
    with pytest.raises(ValueError, match=f"expected {text}"):
        jax.jit(wrong)(arrays()[1][0])


def test_what_is_not_there_says_so():
    q = arrays()[1][0]
    with pytest.raises(NotImplementedError, match="gradient of a gradient"):
        jax.grad(lambda x: jax.grad(lambda y: fovea.attention(y, y, y).sum())(x).sum())(q)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: fovea.attention(x, x, x), (q,), (q,))
    with pytest.raises(TypeError, match="unexpected keyword argument 'bais'"):
        fovea.jax.attention(q, q, q, bais=1)
    with pytest.raises(ValueError, match="expected q as an array with values, got a JAX tracer"):
        jax.jit(lambda q: fovea.attention_vjp(q, q, q, q).dq)(q)
    assert np.array_equal(fovea.jax.attention(q, q, q, observe=["max"])[1].max, fovea.attention(q, q, q, observe=["max"])[1].max)


def test_examples():
    assert doctest.testmod(fovea.jax).failed == 0
