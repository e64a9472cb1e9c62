"""Parts of the keys, merged, equal one call over all keys."""

import numpy as np
import pytest
from cases import normal

import fovea

OBSERVE = ["entropy", "max", "top_k:4", "effective_keys", "key_sets", "key_mass"]
# A merge multiplies by e^{lse − lse} and divides by a sum of two: relative errors of 2^-23·(|lse| + 2) a part, |lse| < 10.
NEAR = dict(rtol=2e-5, atol=2e-5)


def expect_same(seen, whole):
    for name in ("lse", "entropy", "max", "effective_keys", "set_mass", "key_mass"):
        np.testing.assert_allclose(getattr(seen, name), getattr(whole, name), **NEAR, err_msg=name)
    np.testing.assert_allclose(seen.top_k.weights, whole.top_k.weights, **NEAR)
    assert (seen.max_key == whole.max_key).all() and (seen.top_k.indices == whole.top_k.indices).all()


@pytest.mark.parametrize("cuts", [(), (40,), (1, 40, 41, 66)])
@pytest.mark.parametrize("sinks", [None, [0.5, -1, 3, 0]])
def test_parts_merge_to_the_whole(cuts, sinks):
    rng = np.random.default_rng(1)
    q, k, v = normal(rng, 2, 4, 33, 16), normal(rng, 2, 2, 100, 16), normal(rng, 2, 2, 100, 8)
    sets = rng.integers(-1, 3, size=100)
    places = [0, *cuts, 100]
    parts = []
    for a, b in zip(places, places[1:]):
        last = b == 100  # causality belongs to the last part alone
        parts.append(
            fovea.attention(q, k[:, :, a:b], v[:, :, a:b], causal=last, key_sets=sets[a:b], observe=OBSERVE)
        )
    out, seen = fovea.merge(parts, sinks=sinks)
    whole, inside = fovea.attention(q, k, v, causal=True, sinks=sinks, key_sets=sets, observe=OBSERVE)
    np.testing.assert_allclose(out, whole, **NEAR)
    expect_same(seen, inside)
    np.testing.assert_allclose(seen.rows([0, 32]), inside.rows([0, 32]), **NEAR)
    guess, of_whole = seen.sampled_key_mass(20, seed=2), inside.sampled_key_mass(20, seed=2)
    np.testing.assert_allclose(guess.mass, of_whole.mass, **NEAR)
    np.testing.assert_allclose(guess.standard_error, of_whole.standard_error, **NEAR)


def test_packed_sequences_have_parts_of_their_own_lengths():
    rng = np.random.default_rng(2)
    q_offsets, lengths = [0, 5, 5, 12], ([30, 0, 7], [1, 9, 40])
    q = normal(rng, 12, 4, 16)
    parts, keys = [], []
    for n in lengths:
        k, v = normal(rng, sum(n), 2, 16), normal(rng, sum(n), 2, 8)
        off = np.concatenate([[0], np.cumsum(n)])
        keys.append((k, v, off))
        parts.append(fovea.attention(q, k, v, q_offsets=q_offsets, k_offsets=off, observe=["entropy", "max", "key_mass"]))
    out, seen = fovea.merge(parts)
    joined = [np.concatenate([x[i][x[2][n] : x[2][n + 1]] for n in range(3) for x in keys]) for i in range(2)]
    offsets = [0, 31, 40, 87]
    whole, inside = fovea.attention(
        q, *joined, q_offsets=q_offsets, k_offsets=offsets, observe=["entropy", "max", "key_mass"]
    )
    np.testing.assert_allclose(out, whole, **NEAR)
    np.testing.assert_allclose(seen.key_mass, inside.key_mass, **NEAR)
    assert (seen.max_key == inside.max_key).all()
    for a, b in zip(seen.rows([0, 11]), inside.rows([0, 11])):
        np.testing.assert_allclose(a, b, **NEAR)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_caches_merge_with_caches(dtype):
    rng = np.random.default_rng(3)
    k, v, q = normal(rng, 60, 2, 16), normal(rng, 60, 2, 16), normal(rng, 1, 4, 1, 16)
    sets = rng.integers(0, 2, size=60)
    caches = []
    for part in (slice(0, 45), slice(45, 60), slice(0, 60)):
        caches.append(fovea.KvCache(2, 16, dtype=dtype))
        caches[-1].append(k[part], v[part])
    calls = [
        fovea.attention_decode(q, c, key_sets=s, observe=OBSERVE)
        for c, s in zip(caches, (sets[:45], sets[45:], sets))
    ]
    out, seen = fovea.merge(calls[:2])
    np.testing.assert_allclose(out, calls[2][0], **NEAR)
    expect_same(seen, calls[2][1])
    np.testing.assert_allclose(seen.rows([0])[0], calls[2][1].rows([0])[0], **NEAR)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_tensors_are_merged_in_float32_and_rounded_once(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its tensors are not merged")
    x = [torch.randn(1, 2, 30, 16, generator=torch.Generator().manual_seed(i)).to(getattr(torch, dtype)) for i in range(3)]
    parts = [fovea.attention(x[0], x[1][:, :, s], x[2][:, :, s], observe=["key_mass"]) for s in (slice(9), slice(9, 30))]
    out, seen = fovea.merge(parts)
    whole, inside = fovea.attention(*x, observe=["key_mass"])
    assert out.dtype == x[0].dtype
    unit = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    # Two outputs rounded before they are merged, the sum once more, and what a bf16 kernel rounds of the weights.
    torch.testing.assert_close(out, whole, rtol=0, atol=5 * unit * x[2].abs().max().item())
    torch.testing.assert_close(seen.key_mass, inside.key_mass, rtol=1e-3, atol=1e-3)


def call(observe=(), length=6, **keywords):
    x = np.ones((1, 2, length, 4), np.float32)
    return fovea.attention(x, x, x, observe=list(observe), **keywords)


@pytest.mark.parametrize(
    "parts, message",
    [
        (lambda: [], r"\[merge\] expected parts as a list of \(output, Insight\), got list"),
        (lambda: [call()[0]], r"expected parts as \(output, Insight\)"),
        (lambda: [call(), call(length=7)], r"expected parts of the same queries, got \[1, 2, 6, 4\] float32 and"),
        (lambda: [call(["max"]), call()], r"\[merge\] expected parts with max of equal shape"),
        (lambda: [call(["key_mass"]), call()], "expected key_mass observed of all parts or of none"),
        (lambda: [call(["distance"]), call(["distance"])], "expected parts without distance"),
        (lambda: [call(["top_k:3"]), call(["top_k:2"])], "expected parts with top_k of equal shape"),
        (lambda: [call(), fovea.merge([call(), call()])], "merge all parts at once"),
        (lambda: [tuple(x for x in call()), ("a", call()[1])], "expected outputs all as NumPy"),
    ],
)
def test_what_does_not_fit_is_named(parts, message):
    with pytest.raises(ValueError, match=message):
        fovea.merge(parts())


def test_sinks_and_types_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="expected sinks with one number for each of the 2 heads"):
        fovea.merge([call(), call()], sinks=[1.0])
    x = np.ones((1, 1, 3, 4))
    with pytest.raises(ValueError, match="got float64"):
        fovea.merge([fovea.attention(x, x, x, observe=[])])
