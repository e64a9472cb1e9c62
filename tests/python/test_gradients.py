"""Gradients against float64 central differences of the plain definition."""

import numpy as np
import pytest
import reference
from cases import normal, random_case

import fovea

STEP = 1e-5


def projected_difference(case, name, direction, dout):
    """d/dt of Σ dout∘out along a direction of one argument, in float64; the difference is off by about STEP²."""

    def value(t):
        q, k, v = (np.asarray(x, np.float64) for x in (case.q, case.k, case.v))
        keywords = dict(case.keywords)
        arguments = dict(q=q, k=k, v=v)
        if name in arguments:
            arguments[name] = arguments[name] + t * direction
        else:
            keywords[name] = np.asarray(keywords[name], np.float64) + t * direction
        return (reference.attention(**arguments, **keywords).out * dout).sum()

    return (value(STEP) - value(-STEP)) / (2 * STEP)


@pytest.mark.parametrize("block", range(10))
def test_random_gradients_equal_differences(block):
    for seed in range(1000 + block * 6, 1000 + block * 6 + 6):
        case = random_case(seed, longest=65)
        rng = np.random.default_rng(seed)
        ref = reference.attention(case.q, case.k, case.v, **case.keywords)
        dout = normal(rng, *ref.out.shape)
        grads = fovea.attention_vjp(case.q, case.k, case.v, dout, **case.keywords)
        # Gradients are sums of weights times values and gradients; each weight is off by `relative`, and every term
        # that is summed counts: the sizes stand in `terms`.
        relative = reference.tolerance(case.q, case.k, case.v, ref, case.scale) / max(np.abs(case.v).max(), 1e-3)
        terms = np.abs(dout).sum() * np.abs(case.v).max() * max(np.abs(case.q).max(), np.abs(case.k).max(), 1)
        for name in ("q", "k", "v", "alibi", "sinks"):
            if name not in ("q", "k", "v") and name not in case.keywords:
                assert not hasattr(grads, "d" + name)
                continue
            gradient = getattr(grads, "d" + name)
            direction = rng.normal(size=gradient.shape)
            direction /= max(np.linalg.norm(direction), 1e-9)
            expected = projected_difference(case, name, direction, dout)
            got = float((gradient.astype(np.float64) * direction).sum())
            span = ref.weights.shape[-1] if name == "alibi" else 1
            assert abs(got - expected) <= relative * terms * span * 0.5 + 1e-5, (seed, name, got, expected, case.keywords)


def test_packed_gradients_equal_one_by_one_bit_for_bit():
    rng = np.random.default_rng(8)
    offsets = [0, 5, 5, 38, 103]
    q, k, v, dout = normal(rng, 103, 4, 16), normal(rng, 103, 2, 16), normal(rng, 103, 2, 8), normal(rng, 103, 4, 8)
    grads = fovea.attention_vjp(q, k, v, dout, q_offsets=offsets, causal=True)
    for a, b in zip(offsets, offsets[1:]):
        alone = fovea.attention_vjp(q[a:b], k[a:b], v[a:b], dout[a:b], causal=True)
        for name in ("dq", "dk", "dv"):
            assert getattr(alone, name).tobytes() == getattr(grads, name)[a:b].tobytes(), name


def test_gradients_go_through_dropout():
    rng = np.random.default_rng(9)
    q, k, v, dout = (normal(rng, 1, 1, 8, 4) for _ in range(4))
    keywords = dict(dropout=0.5, seed=3)
    # Identity values show which weights stayed.
    identity = np.eye(8, dtype=np.float32)[None, None]
    kept = fovea.attention(q, k, identity, **keywords) / fovea.attention(q, k, identity)
    assert set(np.unique(np.round(kept, 4))) == {0.0, 2.0}
    grads = fovea.attention_vjp(q, k, v, dout, **keywords)
    direction = rng.normal(size=q.shape)

    def value(t):
        return (reference.attention(q + t * direction, k, v, keep=np.round(kept)).out * dout).sum()

    expected = (value(STEP) - value(-STEP)) / (2 * STEP)
    assert abs((grads.dq * direction).sum() - expected) < 1e-4


def test_there_is_no_gradient_of_what_was_not_given():
    x = np.ones((1, 1, 2, 4), np.float32)
    with pytest.raises(AttributeError, match="there is no gradient 'dsinks'; there are dq, dk, dv"):
        fovea.attention_vjp(x, x, x, x).dsinks
    with pytest.raises(ValueError, match=r"\[attention_vjp\] expected dout \[1, 1, 2, 4\] like the output"):
        fovea.attention_vjp(x, x, x, x[:, :, :1])
