"""Rotary positions, as a keyword and by themselves, against the papers' formulas."""

import numpy as np
import pytest
import reference
from cases import normal

import fovea

KINDS = [
    dict(),
    dict(layout="interleaved", base=500.0),
    dict(width=6),
    dict(layout="interleaved", width=4, scaling="linear", factor=4.0),
    dict(scaling="ntk", factor=8.0),
    dict(scaling="yarn", factor=16.0, original_length=64),
]


@pytest.mark.parametrize("kind", KINDS)
def test_turned_arrays_equal_the_definition(kind):
    x = normal(np.random.default_rng(0), 2, 3, 40, 12)
    turn = fovea.Rotary(**kind)
    # Angles are exact to float64, their cosines rounded; each element is a sum of two products.
    bound = 4 * reference.EPS32 * np.abs(x).max() * 2
    np.testing.assert_allclose(turn(x), reference.turned(x, **kind), rtol=0, atol=bound)
    far = turn(x, first_position=100_000)
    np.testing.assert_allclose(far, reference.turned(x, first=100_000, **kind), rtol=0, atol=bound)
    packed = np.concatenate([x[n].transpose(1, 0, 2) for n in range(2)])
    both = turn(packed, offsets=[0, 40, 80])
    assert both.tobytes() == turn(x).transpose(0, 2, 1, 3).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [(30, 30), (5, 30), (30, 5)])
def test_the_keyword_turns_queries_and_keys_and_their_gradients(kind, lengths):
    lq, lk = lengths
    rng = np.random.default_rng(1)
    q, k, v = normal(rng, 2, 4, lq, 12), normal(rng, 2, 2, lk, 12), normal(rng, 2, 2, lk, 8)
    first = dict(q=max(0, lk - lq), k=max(0, lq - lk))
    rotary = fovea.Rotary(**kind)
    out = fovea.attention(q, k, v, causal=True, rotary=rotary)
    turned = [reference.turned(x, first=first[name], **kind) for name, x in (("q", q), ("k", k))]
    ref = reference.attention(*turned, v, causal=True)
    bound = reference.tolerance(*turned, v, ref, 12**-0.5) * 2  # the turned factors are rounded too
    np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound)
    dout = normal(rng, *out.shape)
    grads = fovea.attention_vjp(q, k, v, dout, causal=True, rotary=rotary)
    plain = fovea.attention_vjp(*(x.astype(np.float32) for x in turned), v, dout, causal=True)
    for name in ("q", "k"):  # back: the transpose of turning, which for the growth g is g²·(the inverse)
        again = reference.turned(getattr(grads, "d" + name), first=first[name], **kind)
        growth = 0.1 * np.log(kind["factor"]) + 1 if kind.get("scaling") == "yarn" else 1.0
        np.testing.assert_allclose(again / growth**2, getattr(plain, "d" + name), rtol=0, atol=2e-5)
    np.testing.assert_allclose(grads.dv, plain.dv, rtol=0, atol=2e-5)


def test_packed_sequences_are_turned_as_alone():
    rng = np.random.default_rng(2)
    q, k = normal(rng, 12, 2, 8), normal(rng, 15, 2, 8)
    rotary = fovea.Rotary()
    whole = fovea.attention(q, k, k, q_offsets=[0, 5, 12], k_offsets=[0, 11, 15], rotary=rotary)
    for a, b in ((slice(0, 5), slice(0, 11)), (slice(5, 12), slice(11, 15))):
        assert whole[a].tobytes() == fovea.attention(q[a], k[b], k[b], rotary=rotary).tobytes()


def test_half_arrays_and_torch():
    torch = pytest.importorskip("torch")
    x = torch.randn(3, 2, 4, 10, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    rotary = fovea.Rotary(layout="interleaved")
    turned = rotary(x[0])
    expected = reference.turned(x[0].float().numpy(), layout="interleaved")
    assert turned.dtype == torch.bfloat16 and turned.shape == x[0].shape
    np.testing.assert_allclose(turned.float().numpy(), expected, rtol=2**-8, atol=1e-6)
    leaves = [y.clone().requires_grad_() for y in x.float()]
    out = fovea.attention(*leaves, causal=True, rotary=rotary)
    out.square().sum().backward()
    grads = fovea.attention_vjp(*(y.detach() for y in leaves), 2 * out.detach(), causal=True, rotary=rotary)
    assert torch.equal(leaves[0].grad, grads.dq) and torch.equal(leaves[1].grad, grads.dk)
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, causal=True, rotary=rotary), fullgraph=True, backend="aot_eager")
    again = [y.detach().clone().requires_grad_() for y in leaves]
    compiled(*again).square().sum().backward()
    assert torch.equal(again[0].grad, grads.dq)
    with pytest.raises(ValueError, match=r"\[Rotary\] expected an array without a gradient"):
        rotary(leaves[0])


def test_wrong_values_are_named():
    q = np.ones((1, 2, 3, 5), np.float32)
    for keywords, message in [
        (dict(layout="quarter"), "expected layout out of 'half', 'interleaved', got 'quarter'"),
        (dict(width=3), "expected an even width, got 3"),
        (dict(base=0), "expected base > 0, got 0"),
        (dict(scaling="yarn", factor=0.5), "expected factor >= 1, got 0.5"),
        (dict(beta_fast=1.0), "expected beta_fast > beta_slow > 0, got 1.0 and 1.0"),
    ]:
        with pytest.raises(ValueError) as found:
            fovea.Rotary(**keywords)
        assert str(found.value) == f"[Rotary] {message}"
    for arguments, message in [
        (dict(rotary=True), "expected rotary as a fovea.Rotary, got bool"),
        (dict(rotary=fovea.Rotary()), "expected rotary's width even and at most the heads' 5, got 5"),
        (dict(rotary=fovea.Rotary(width=8)), "expected rotary's width even and at most the heads' 5, got 8"),
    ]:
        with pytest.raises(ValueError) as found:
            fovea.attention(q, q, q, **arguments)
        assert str(found.value) == f"[attention] {message}"
    with pytest.raises(ValueError, match="expected arrays out of float32, .* with rotary, got int64"):
        fovea.Rotary(width=4)(q.astype(np.int64))


@pytest.mark.parametrize("kind", KINDS)
def test_float64_arrays_are_turned_in_float64(kind):
    rng = np.random.default_rng(3)
    q, k, v = (rng.normal(size=(2, 2, 20, 12)) for _ in range(3))
    rotary = fovea.Rotary(**kind)
    turned = [reference.turned(x, **kind) for x in (q, k)]
    # Angles up to 20 radians, known to float64's rounding of the frequency: 20·eps, beside that of two products.
    np.testing.assert_allclose(rotary(q), turned[0], rtol=0, atol=40 * np.finfo(np.float64).eps * np.abs(q).max())
    out = fovea.attention(q, k, v, causal=True, rotary=rotary)
    np.testing.assert_allclose(out, fovea.attention(*turned, v, causal=True), rtol=0, atol=1e-12)
    dout, direction, step = rng.normal(size=out.shape), rng.normal(size=q.shape), 1e-5

    def value(t):
        return (fovea.attention(q + t * direction, k, v, causal=True, rotary=rotary) * dout).sum()

    got = (fovea.attention_vjp(q, k, v, dout, causal=True, rotary=rotary).dq * direction).sum()
    assert abs(got - (value(step) - value(-step)) / (2 * step)) < 1e-6
