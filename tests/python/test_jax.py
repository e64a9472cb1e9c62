"""JAX arrays in, JAX arrays out."""

import numpy as np
import pytest
from cases import normal

import fovea

jax = pytest.importorskip("jax", reason="JAX is not installed: its arrays are not tested")


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


def test_inside_jit_says_so():
    _, given = arrays()
    with pytest.raises(ValueError, match="expected q as an array with values, got a JAX tracer"):
        jax.jit(lambda q: fovea.attention(q, q, q))(given[0])
