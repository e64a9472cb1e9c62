"""Heads overridden from outside, named sets of keys, and mass estimated from a sample of queries."""

import numpy as np
import pytest
import reference
from cases import normal

import fovea


def expected_weights(plain, ways, frozen, order, mask):
    """[B, H, Lq, Lk]: the weights with each head's way put in place."""
    weights = plain.copy()
    seen = np.broadcast_to(mask, plain.shape)
    for h, way in ways.items():
        if way == "off":
            weights[:, h] = 0
        elif way == "uniform":
            weights[:, h] = seen[:, h]
        elif way == "frozen":
            weights[:, h] = np.broadcast_to(frozen, plain.shape)[:, h] * seen[:, h]
        total = weights[:, h].sum(-1, keepdims=True)
        if way in ("uniform", "frozen"):
            weights[:, h] = np.divide(weights[:, h], total, out=np.zeros_like(weights[:, h]), where=total > 0)
    return weights


def test_heads_do_what_was_put_in_their_place():
    rng = np.random.default_rng(0)
    q, k, v = normal(rng, 2, 5, 20, 8), normal(rng, 2, 5, 30, 8), normal(rng, 2, 5, 30, 6)
    frozen, order = rng.random((2, 1, 20, 30)), rng.permutation(30)
    ways = {0: "uniform", 1: "off", 2: "frozen", 4: "permuted"}
    override = fovea.Override(ways, weights=frozen, permutation=order)
    out, seen = fovea.attention(q, k, v, causal=True, override=override, observe=["entropy"])
    i, j = reference.places(20, 30)
    plain = reference.attention(q, k, v, causal=True).weights
    weights = expected_weights(plain, ways, frozen, order, j <= i)
    weights[:, 4] = reference.attention(q, k[:, :, order], v, causal=True).weights[:, 4]
    # Weights are off by less than 1e-6, a mean of 30 values of size 4 by as many.
    np.testing.assert_allclose(out, np.einsum("bhij,bhjd->bhid", weights, v), rtol=0, atol=2e-5)
    np.testing.assert_allclose(seen.rows([7]), weights[:, :, [7]], rtol=0, atol=1e-6)
    np.testing.assert_allclose(seen.entropy[:, 0], np.log((j <= i).sum(-1))[None].repeat(2, 0), rtol=1e-5)


def test_gradients_are_of_what_was_put_in_place():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    leaves = [torch.from_numpy(normal(rng, 1, 3, 9, 8)).requires_grad_() for _ in range(3)]
    override = fovea.Override({0: "uniform", 1: "off"})
    fovea.attention(*leaves, override=override).sum().backward()
    dq, dk, dv = (x.grad for x in leaves)
    assert (dq[:, :2] == 0).all() and (dk[:, :2] == 0).all() and (dq[:, 2] != 0).any()
    assert (dv[:, 1] == 0).all() and torch.allclose(dv[:, 0], torch.ones(9, 8))
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, override=override), fullgraph=True, backend="aot_eager")
    again = [x.detach().clone().requires_grad_() for x in leaves]
    compiled(*again).sum().backward()
    assert all(torch.equal(x.grad, y.grad) for x, y in zip(leaves, again))


def test_packed_permutations_count_within_a_sequence():
    rng = np.random.default_rng(2)
    q = normal(rng, 9, 2, 8)
    order = [2, 0, 1, 5, 4, 3, 2, 1, 0]
    out = fovea.attention(q, q, q, q_offsets=[0, 3, 9], override=fovea.Override({0: "permuted"}, permutation=order))
    for a, b in ((0, 3), (3, 9)):
        part = q[a:b]
        alone = fovea.attention(part, part[order[a:b]], part)
        np.testing.assert_allclose(out[a:b, 0], alone[:, 0], rtol=0, atol=1e-6)


def test_wrong_overrides_are_named():
    q = np.ones((1, 2, 3, 4), np.float32)
    for arguments, keywords, message in [
        (([],), {}, "expected heads as a dict of head: way, got []"),
        (({0: "on"},), {}, "expected a head's way out of 'uniform', 'permuted', 'frozen', 'off', got 'on'"),
        (({"a": "off"},), {}, "expected a head as an integer, got 'a'"),
        (({0: "frozen"},), {}, "expected weights with frozen heads, and only with these"),
        (({0: "off"},), dict(permutation=[0]), "expected permutation with permuted heads, and only with these"),
        (({0: "frozen"},), dict(weights=[-1.0]), "expected weights >= 0, got a negative one or NaN"),
    ]:
        with pytest.raises(ValueError) as found:
            fovea.Override(*arguments, **keywords)
        assert str(found.value) == f"[Override] {message}"
    for override, keywords, message in [
        ("off", {}, "expected override as a fovea.Override, got str"),
        (fovea.Override({2: "off"}), {}, "expected override's heads in [0, 2), got 2"),
        (fovea.Override({0: "off"}), dict(top_k=2), "expected no overridden heads with top_k, got 2"),
        (fovea.Override({0: "permuted"}, permutation=[0, 1]), {}, "expected override's permutation of the 3 keys, got [2]"),
        (fovea.Override({0: "permuted"}, permutation=[0, 0, 2]), {}, "expected override's permutation to hold each of a "
                                                                    "sequence's 3 keys once"),
        (fovea.Override({0: "frozen"}, weights=np.ones((5, 3))), {}, "expected override's weights broadcastable to "
                                                                    "[B, H, Lq, Lk] [1, 2, 3, 3], got [5, 3]"),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as found:
            fovea.attention(q, q, q, override=override, **keywords)
        assert str(found.value).split("] ", 1)[1] == message


def test_named_sets_of_keys():
    rng = np.random.default_rng(3)
    q, k = normal(rng, 2, 3, 20, 8), normal(rng, 2, 3, 30, 8)
    sets = rng.integers(-1, 4, size=30)
    out, seen = fovea.attention(q, k, k, causal=True, key_sets=sets, observe=["key_sets"])
    weights = reference.attention(q, k, k, causal=True).weights
    expected = np.stack([(weights * (sets == s)).sum(-1) for s in range(4)], axis=-1)
    np.testing.assert_allclose(seen.set_mass, expected, rtol=0, atol=1e-5)
    assert out.tobytes() == fovea.attention(q, k, k, causal=True).tobytes()
    _, each = fovea.attention(q, k, k, key_sets=np.stack([sets, sets[::-1]]), observe=["key_sets"])
    assert each.set_mass.shape == (2, 3, 20, 4)
    cache = fovea.KvCache(3, 8)
    cache.append(k[:1], k[:1])
    _, decoded = fovea.attention_decode(q[:1, :, -1:], cache, key_sets=sets, observe=["key_sets"])
    np.testing.assert_allclose(decoded.set_mass[0, :, 0], expected[0, :, -1], rtol=0, atol=1e-5)
    for keywords, message in [
        (dict(key_sets=sets), "expected key_sets together with observe=['key_sets'], got key_sets alone"),
        (dict(observe=["key_sets"]), "expected key_sets together with observe=['key_sets'], got observe=['key_sets'] alone"),
        (dict(key_sets=sets[:5], observe=["key_sets"]), "expected key_sets as an integer for each of the 60 keys, got int64 [5]"),
        (dict(key_sets=sets + 70, observe=["key_sets"]), "expected key_sets in [-1, 64), got 69 to 73"),
    ]:
        with pytest.raises(ValueError) as found:
            fovea.attention(q, k, k, **keywords)
        assert str(found.value) == f"[attention] {message}"


def test_torch_operators_see_sets_too():
    torch = pytest.importorskip("torch")
    q = torch.randn(1, 2, 9, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    sets = torch.tensor([0, 1, 2] * 3)
    out, seen = fovea.attention(q, q, q, key_sets=sets, observe=["key_sets"])
    out.sum().backward()
    assert torch.allclose(seen.set_mass.sum(-1), torch.ones(1, 2, 9))
    call = lambda q: fovea.attention(q, q, q, key_sets=sets, observe=["key_sets", "max"])
    results = torch.ops.fovea.attention(q, q, q, *[None] * 8, sets, None, "scaled_dot", "softmax", None, False, False, -1, -1, 0.0,
                                        0, 0.0, 0, "strict", "", 0, True, 0, 0, 0, "key_sets|max")  # fmt: skip
    assert torch.equal(results[4], seen.set_mass)  # out, lse, max, max_key, set_mass
    assert call(q)[1].max.shape == (1, 2, 9)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sampled_mass_finds_the_mass_within_its_error(dtype):
    rng = np.random.default_rng(4)
    q, k = (normal(rng, 2, 2, 300, 16).astype(dtype) for _ in range(2))
    _, seen = fovea.attention(q, k, k, causal=True, observe=["key_mass"])
    guess = seen.sampled_key_mass(100, seed=3)
    assert guess.mass.shape == guess.standard_error.shape == (2, 2, 300)
    z = (guess.mass - seen.key_mass) / np.maximum(guess.standard_error, 1e-6)
    # Weights are skewed: a key that few queries see is missed by a sample of them, so z has a long left tail.
    assert np.sqrt(np.mean(z[..., :250] ** 2)) < 1.5
    whole = seen.sampled_key_mass(300)
    np.testing.assert_allclose(whole.mass, seen.key_mass, rtol=0, atol=1e-4)
    assert (whole.standard_error == 0).all()
    with pytest.raises(ValueError, match=r"\[Insight.sampled_key_mass\] expected samples in"):
        seen.sampled_key_mass(1)


def test_float64_calls_override_heads_too():
    rng = np.random.default_rng(5)
    q, k, v = rng.normal(size=(2, 4, 7, 8)), rng.normal(size=(2, 2, 9, 8)), rng.normal(size=(2, 2, 9, 5))
    mask, order = rng.random((7, 9)) < 0.8, rng.permutation(9)
    ways = {0: "uniform", 1: "frozen", 2: "off", 3: "permuted"}
    override = fovea.Override(ways, weights=rng.random((7, 9)), permutation=order)
    keywords = dict(mask=mask, sinks=[0.5] * 4, softcap=4.0)
    observe = ["entropy", "max", "top_k:3", "key_mass", "distance"]
    out, seen = fovea.attention(q, k, v, override=override, observe=observe, **keywords)
    narrow = [x.astype(np.float32) for x in (q, k, v)]
    expected, seen32 = fovea.attention(*narrow, override=override, observe=observe, **keywords)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    for name in ("lse", "entropy", "max", "key_mass", "distance"):
        np.testing.assert_allclose(getattr(seen, name), getattr(seen32, name), rtol=0, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(seen.rows([1, 6]), seen32.rows([1, 6]), rtol=0, atol=1e-5)
    assert (out[:, 2] == 0).all() and np.isneginf(seen.lse[:, 2]).all()

    override = fovea.Override({0: "uniform", 2: "off"})
    dout = rng.normal(size=out.shape)
    grads = fovea.attention_vjp(q, k, v, dout, override=override, mask=mask)
    grads32 = fovea.attention_vjp(*narrow, dout.astype(np.float32), override=override, mask=mask)
    for name in ("dq", "dk", "dv"):
        np.testing.assert_allclose(getattr(grads, name), getattr(grads32, name), rtol=0, atol=2e-5)
    assert (grads.dq[:, [0, 2]] == 0).all() and (grads.dq[:, 1] != 0).any()
    for given in ((q, k, v, dout), (*narrow, dout.astype(np.float32))):
        with pytest.raises(ValueError, match="expected no gradients of biases, sinks or scales with overridden heads"):
            fovea.attention_vjp(*given, override=override, sinks=[0.0] * 4)
        with pytest.raises(ValueError, match="expected no permuted heads, which have no gradient"):
            fovea.attention_vjp(*given, override=fovea.Override({0: "permuted"}, permutation=order))
