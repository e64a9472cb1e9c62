"""The keyword top_k: which keys are kept, and forward, backward and insights of these."""

import numpy as np
import pytest
import reference
from cases import normal, random_case

import fovea


def kept_by_engine(case, k):
    """bool [B, H, Lq, Lk]: what the call keeps."""
    _, seen = fovea.attention(case.q, case.k, case.v, **case.keywords, top_k=k, observe=[f"top_k:{k}"])
    kept = np.zeros((*case.q.shape[:3], case.k.shape[2] + 1), bool)
    np.put_along_axis(kept, np.where(seen.top_k.indices < 0, case.k.shape[2], seen.top_k.indices), True, axis=-1)
    return kept[..., :-1]


def with_mask(case, kept):
    mask = case.keywords.get("mask")
    return {**case.keywords, "mask": kept if mask is None else kept & mask}


@pytest.mark.parametrize("block", range(8))
def test_random_calls_keep_the_strongest_and_compute_them(block):
    for seed in range(block * 12, block * 12 + 12):
        case, k = random_case(seed), int(np.random.default_rng(seed).choice([1, 2, 5, 8, 64, 65, 100, 129, 10**6]))
        out, seen = fovea.attention(case.q, case.k, case.v, **case.keywords, top_k=k, observe=[])
        kept = kept_by_engine(case, k)
        full = reference.attention(case.q, case.k, case.v, **case.keywords)
        error = reference.tolerance(case.q, case.k, np.ones_like(case.v), full, case.scale)
        with np.errstate(divide="ignore"):
            logits = np.log(full.weights)  # up to a number a row; masked: −inf
        expected = reference.strongest(logits, k)
        assert (kept.sum(-1) == expected.sum(-1)).all() and not (kept & (logits == -np.inf)).any(), seed
        weakest = np.where(kept, logits, np.inf).min(-1, initial=np.inf)
        best_left = np.where(kept, -np.inf, logits).max(-1, initial=-np.inf)
        assert (best_left <= weakest + 2 * error).all(), seed
        ref = reference.attention(case.q, case.k, case.v, **with_mask(case, kept))
        bound = reference.tolerance(case.q, case.k, case.v, ref, case.scale)
        np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound, err_msg=f"seed {seed} {case.keywords}")
        finite = np.isfinite(ref.lse)
        assert (np.isneginf(seen.lse) == ~finite).all()
        np.testing.assert_allclose(seen.lse[finite], ref.lse[finite], rtol=0, atol=error + 1e-5)
        queries = [0, case.q.shape[2] - 1]
        np.testing.assert_allclose(seen.rows(queries), ref.weights[:, :, queries], rtol=0, atol=error + 1e-6)


def test_gradients_flow_through_the_kept_keys_alone():
    for seed in range(300, 330):
        case = random_case(seed)
        kept = kept_by_engine(case, 5)
        dout = normal(np.random.default_rng(seed), *case.q.shape[:3], case.v.shape[-1])
        ours = fovea.attention_vjp(case.q, case.k, case.v, dout, **case.keywords, top_k=5)
        masked = fovea.attention_vjp(case.q, case.k, case.v, dout, **with_mask(case, kept))
        for name, x in vars(ours).items():
            y = getattr(masked, name)
            # Both in float32, sums in another order; |dS| is about 10 here and a sum has at most 130·9 terms.
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=2e-4 * max(1, np.abs(y).max(initial=0)), err_msg=f"{seed} {name}")


def test_gradients_equal_differences_in_float64():
    rng = np.random.default_rng(3)
    q, k, v, dout = (normal(rng, 1, 2, 7, 4, dtype=np.float64) for _ in range(4))
    bias = normal(rng, 2, 7, 7, dtype=np.float64)
    keywords = dict(causal=True, top_k=3, bias=bias, sinks=np.array([0.3, -0.2]))
    grads = fovea.attention_vjp(q, k, v, dout, **keywords)
    for name, x in dict(q=q, k=k, v=v, bias=bias).items():
        analytic = getattr(grads, "d" + name)
        for at in rng.choice(x.size, 12, replace=False):
            place, step = np.unravel_index(at, x.shape), 1e-6
            before = x[place]
            values = []
            for change in (step, -step):
                x[place] = before + change
                values.append((fovea.attention(q, k, v, **keywords) * dout).sum())
            x[place] = before
            assert abs((values[0] - values[1]) / (2 * step) - analytic[place]) < 1e-6, (name, place)


LENGTH = 150
COUNTS = (1, 63, 64, 65, 127, 128, 129, LENGTH - 1, LENGTH, LENGTH + 1, 10**6)


def whole_numbers(dtype):
    """q, k, v [1, 2, L, 4] whose scores are one product of small whole numbers: many are equal, in every type."""
    rng = np.random.default_rng(11)
    q, k, v = (rng.integers(-2, 3, size=(1, 2, n, 4)).astype(dtype) for n in (9, LENGTH, LENGTH))
    q[..., 1:] = 0
    return q, k, v


@pytest.mark.parametrize("k", COUNTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_lists_of_any_length_are_a_stable_sort_of_the_scores(k, dtype):
    q, keys, v = whole_numbers(dtype)
    plain = fovea.attention(q, keys, v, score="dot", causal=True)
    out, seen = fovea.attention(q, keys, v, score="dot", causal=True, observe=[f"top_k:{k}"])
    assert out.tobytes() == plain.tobytes()
    scores = q.astype(np.float64) @ keys.astype(np.float64).swapaxes(-1, -2)
    scores[..., np.arange(LENGTH) > np.arange(9)[:, None] + LENGTH - 9] = -np.inf
    order = np.argsort(-scores, axis=-1, kind="stable")
    order[np.take_along_axis(scores, order, -1) == -np.inf] = -1
    places = min(k, LENGTH + 1024)  # of which the last have no key
    expected = np.full((1, 2, 9, places), -1)
    expected[..., : min(k, LENGTH)] = order[..., :k]
    np.testing.assert_array_equal(seen.top_k.indices, expected)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = np.take_along_axis(weights / weights.sum(-1, keepdims=True), np.maximum(expected, 0), -1)
    np.testing.assert_allclose(seen.top_k.weights, np.where(expected < 0, 0, weights), rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", (65, 100, LENGTH, 10**6, 10**30))
def test_gradients_through_many_kept_keys_equal_differences_in_float64(k):
    rng = np.random.default_rng(5)
    q, keys, v, dout = (normal(rng, 1, 2, n, 4, dtype=np.float64) for n in (3, LENGTH, LENGTH, 3))
    bias = normal(rng, 2, 3, LENGTH, dtype=np.float64)
    keywords = dict(causal=True, top_k=k, bias=bias)
    grads = fovea.attention_vjp(q, keys, v, dout, **keywords)
    single = fovea.attention_vjp(
        *(x.astype(np.float32) for x in (q, keys, v, dout)), causal=True, top_k=k, bias=bias.astype(np.float32)
    )
    for name, x in dict(q=q, k=keys, v=v, bias=bias).items():
        analytic = getattr(grads, "d" + name)
        # Sums of at most 150 terms of about 1, in float32.
        np.testing.assert_allclose(getattr(single, "d" + name), analytic, rtol=0, atol=1e-4)
        for at in rng.choice(x.size, 8, replace=False):
            place, step = np.unravel_index(at, x.shape), 1e-6
            before = x[place]
            values = []
            for change in (step, -step):
                x[place] = before + change
                values.append((fovea.attention(q, keys, v, **keywords) * dout).sum())
            x[place] = before
            assert abs((values[0] - values[1]) / (2 * step) - analytic[place]) < 1e-6, (name, place)


def test_more_keys_than_there_are_keeps_all():
    rng = np.random.default_rng(6)
    q, k, v = (normal(rng, 1, 2, 90, 8) for _ in range(3))
    for count in (90, 91, 10**9, 2**63, 10**30):
        out = fovea.attention(q, k, v, top_k=count)
        np.testing.assert_allclose(out, fovea.attention(q, k, v), rtol=0, atol=2e-6)
        _, seen = fovea.attention(q, k, v, observe=[f"top_k:{count}"])
        assert seen.top_k.indices.shape[-1] == min(count, 90 + 1024)
        assert (np.sort(seen.top_k.indices[..., :90], axis=-1) == np.arange(90)).all()


def test_torch_is_told_the_shape_of_long_lists():
    torch = pytest.importorskip("torch")

    def compiled(keywords):
        return torch.compile(lambda x: fovea.attention(x, x, x, **keywords)[1].top_k.indices, backend="aot_eager")

    q = torch.from_numpy(normal(np.random.default_rng(7), 1, 2, 70, 8)).requires_grad_()
    packed = q.detach()[0].transpose(0, 1).contiguous().requires_grad_()
    for count in (65, 100, 10**6):
        observe = [f"top_k:{count}"]
        for x, offsets in ((q, None), (packed, None), (packed, torch.tensor([0, 30, 70]))):
            keywords = dict(observe=observe) if offsets is None else dict(q_offsets=offsets, observe=observe)
            _, seen = fovea.attention(x.detach(), x.detach(), x.detach(), **keywords)
            assert torch.equal(compiled(keywords)(x), seen.top_k.indices)


def test_torch_trains_through_it():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    arrays = [normal(rng, 1, 2, 20, 8) for _ in range(3)]
    leaves = [torch.from_numpy(x).requires_grad_() for x in arrays]
    out = fovea.attention(*leaves, causal=True, top_k=4)
    out.sum().backward()
    grads = fovea.attention_vjp(*arrays, np.ones_like(arrays[0]), causal=True, top_k=4)
    for leaf, name in zip(leaves, ("dq", "dk", "dv")):
        assert leaf.grad.numpy().tobytes() == getattr(grads, name).tobytes()
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, causal=True, top_k=4), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*leaves), out)


def test_wrong_values_are_named():
    q = np.ones((1, 2, 3, 4), np.float32)
    for value, message in ((0, ">= 1, got 0"), (-3, ">= 1, got -3"), (2.5, "as an integer, got 2.5")):
        with pytest.raises(ValueError) as found:
            fovea.attention(q, q, q, top_k=value)
        assert str(found.value) == f"[attention] expected top_k {message}"
    for wish in ("top_k:0", "top_k:-1", "top_k:2.5", "top_k:"):
        with pytest.raises(ValueError, match=r"expected observe's top_k:k with a number k >= 1, got 'top_k:"):
            fovea.attention(q, q, q, observe=[wish])
