"""16-bit arrays: the result is the float32 one of the same inputs, rounded; gradients likewise."""

import numpy as np
import pytest
import reference
from cases import random_case

import fovea

TYPES = ["float16"]
try:
    import ml_dtypes

    TYPES.append(ml_dtypes.bfloat16)
except ImportError:
    ml_dtypes = None


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("block", range(5))
def test_16_bit_calls_are_near_the_definition_on_the_same_inputs(dtype, block):
    unit = 2.0**-8 if dtype != "float16" else 2.0**-11  # half a unit in the last place, relative
    for seed in range(2000 + block * 8, 2000 + block * 8 + 8):
        case = random_case(seed, longest=65)
        q, k, v = (x.astype(dtype) for x in (case.q, case.k, case.v))
        out = fovea.attention(q, k, v, **case.keywords)
        assert out.dtype == np.dtype(dtype)
        q, k, v = (x.astype(np.float64) for x in (q, k, v))
        ref = reference.attention(q, k, v, **case.keywords)
        keep = 1 / (1 - case.keywords.get("dropout", 0.0))
        # A bf16 kernel rounds the weights too: 2 units of the largest value (attention/half.hpp); float16's smallest
        # step of 2^-24 is below float32's rounding here.
        bound = reference.tolerance(q, k, v, ref, case.scale) + 2 * unit * keep * np.abs(v).max() + 2.0**-24
        np.testing.assert_allclose(out.astype(np.float64), ref.out, rtol=0, atol=bound, err_msg=str(seed))


@pytest.mark.parametrize("dtype", TYPES)
def test_gradients_are_of_the_same_type(dtype):
    case = random_case(7, longest=33)
    q, k, v = (x.astype(dtype) for x in (case.q, case.k, case.v))
    dout = np.ones((*q.shape[:-1], v.shape[-1]), dtype)
    grads = fovea.attention_vjp(q, k, v, dout, sinks=np.zeros(q.shape[1]))
    wide = fovea.attention_vjp(*(x.astype(np.float32) for x in (q, k, v, dout)), sinks=np.zeros(q.shape[1]))
    for name in ("dq", "dk", "dv"):
        got, expected = getattr(grads, name), getattr(wide, name)
        assert got.dtype == np.dtype(dtype)
        bound = 2.0**-6 * np.abs(expected).max() + 1e-6
        np.testing.assert_allclose(got.astype(np.float32), expected, rtol=0, atol=bound, err_msg=name)
    assert grads.dsinks.dtype == np.float32
