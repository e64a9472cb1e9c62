"""Thousands of random wrong and odd calls: each ends in a ValueError that names what was expected, or in a right
result. Never in a crash, another exception, or a result that is wrong."""

import numpy as np
import pytest
import reference
from cases import normal
from fuzz_calls import one_call
from odd import odd_array, odd_shape, odd_value

import fovea

GOOD = dict(q=(2, 4, 9, 8), k=(2, 2, 11, 8), v=(2, 2, 11, 5))

NAMES = ["score", "normalizer", "scale", "causal", "window", "mask", "bias", "blocks", "alibi", "softcap", "sinks",
         "top_k", "dropout", "seed", "q_offsets", "k_offsets", "rotary", "override", "key_sets", "precision", "observe"]  # fmt: skip


def check_shapes_of(result, q, v):
    """Called where nothing was refused: the result must have the right form, and be finite where inputs were."""
    out = result[0] if isinstance(result, tuple) else result
    assert out.shape == (*q.shape[:-1], v.shape[-1]) and out.dtype == q.dtype.newbyteorder("=")
    return out


@pytest.mark.parametrize("block", range(20))
def test_odd_keywords_end_in_a_value_error_or_a_result(block):
    refused = 0
    for seed in range(block * 200, block * 200 + 200):
        rng = np.random.default_rng(seed)
        q, k, v = (normal(rng, *shape) for shape in GOOD.values())
        keywords = {NAMES[rng.integers(len(NAMES))]: odd_value(rng) for _ in range(int(rng.integers(1, 4)))}
        try:
            out = check_shapes_of(fovea.attention(q, k, v, **keywords), q, v)
        except ValueError as error:
            assert "expected" in str(error) and str(error).startswith("["), (seed, keywords, error)
            refused += 1
            continue
        keywords = {n: x for n, x in keywords.items() if x is not None and n not in ("observe", "precision", "seed", "key_sets")}
        if keywords.pop("dropout", 0) or {"blocks", "top_k", "rotary", "override"} & set(keywords) or not known(keywords):
            continue
        ref = reference.attention(q, k, v, **keywords)
        scale = np.abs(keywords.get("scale") if keywords.get("scale") is not None else 1).max()
        bound = reference.tolerance(q, k, v, ref, float(scale))
        np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound, err_msg=f"{seed} {keywords}")
    assert refused > 100


def known(keywords):
    """Whether the reference takes these values as they are."""
    for name, x in keywords.items():
        if isinstance(x, float) and not abs(x) < 1e6:
            return False
        if name == "scale" and x is not None and np.max(np.abs(np.asarray(x, float))) > 1e3:
            return False
    return True


@pytest.mark.parametrize("block", range(20))
def test_odd_arrays_end_in_a_value_error_or_a_result(block):
    refused = 0
    for seed in range(block * 200, block * 200 + 200):
        rng = np.random.default_rng(10_000 + seed)
        arrays = {name: normal(rng, *shape) for name, shape in GOOD.items()}
        for name in rng.choice(list(arrays), size=int(rng.integers(1, 3)), replace=False):
            shape = arrays[name].shape
            arrays[name] = odd_array(rng, odd_shape(rng, shape) if rng.integers(2) else shape)
        if rng.random() < 0.05:
            arrays[["q", "k", "v"][rng.integers(3)]] = odd_value(rng)
        try:
            result = fovea.attention(**arrays, causal=bool(rng.integers(2)))
        except ValueError as error:
            assert "expected" in str(error) and str(error).startswith("["), (seed, error)
            refused += 1
            continue
        check_shapes_of(result, arrays["q"], arrays["v"])
    assert refused > 100


@pytest.mark.parametrize("block", range(5))
def test_odd_packed_calls(block):
    for seed in range(block * 200, block * 200 + 200):
        rng = np.random.default_rng(20_000 + seed)
        q, k = normal(rng, 12, 2, 4), normal(rng, int(rng.choice([12, 7])), 2, 4)
        offsets = [np.sort(rng.integers(-1, 14, size=int(rng.integers(0, 5)))) for _ in range(2)]
        if rng.random() < 0.7:
            offsets = [np.concatenate([[0], o[(o >= 0) & (o <= n)], [n]]) for o, n in zip(offsets, (12, len(k)))]
        keywords = dict(q_offsets=offsets[0])
        if rng.random() < 0.7:
            keywords["k_offsets"] = offsets[1].astype(rng.choice(["i4", "i8", "u2", "f4"]))
        try:
            out = fovea.attention(q, k, k, **keywords)
        except ValueError as error:
            assert "expected" in str(error), (seed, error)
            continue
        assert out.shape == q.shape and np.isfinite(out).all()


def test_odd_gradients():
    rng = np.random.default_rng(5)
    q, k, v = (normal(rng, *shape) for shape in GOOD.values())
    for seed in range(500):
        rng = np.random.default_rng(30_000 + seed)
        dout = odd_array(rng, odd_shape(rng, (2, 4, 9, 5)))
        try:
            grads = fovea.attention_vjp(q, k, v, dout if rng.random() < 0.9 else odd_value(rng))
        except ValueError as error:
            assert "expected" in str(error), error
            continue
        assert grads.dq.shape == q.shape and grads.dv.shape == v.shape


def test_messages_name_what_was_expected_and_found():
    q = np.ones((2, 8, 12, 4), np.float32)
    for arguments, keywords, message in [
        ((q, q[:, :, :5], q), {}, "[attention] expected k and v of equal length, got q [2, 8, 12, 4], k [2, 8, 5, 4] and "
                                  "v [2, 8, 12, 4]"),
        ((q, q[:, :3], q[:, :3]), {}, "[attention] expected a number of key heads that divides the query heads, got q "
                                      "[2, 8, 12, 4], k [2, 3, 12, 4] and v [2, 3, 12, 4]"),
        ((q, q, q.astype(np.int32)), {}, "[attention] expected q, k and v all of one type out of float32, float64, "
                                         "bfloat16, float16, got float32, float32, int32"),
        ((q, q, q), dict(score="l2"), "[attention] expected score out of 'scaled_dot', 'dot', 'cosine', 'neg_sq_l2', "
                                      "'neg_sq_lorentz', got 'l2'"),
        ((q, q, q), dict(dropout=1), "[attention] expected dropout in [0, 1), got 1"),
        ((q, q, q), dict(alibi=[1, 2]), "[attention] expected alibi with one number for each of the 8 heads, got (2,)"),
        ((q, q, q), dict(mask=np.ones((3, 12), bool)), "[attention] expected mask broadcastable to [B, H, Lq, Lk] [2, 8, "
                                                       "12, 12], got [3, 12]"),
        ((q, q, q), dict(window=3), "[attention] expected window as (left, right), got 3"),
        ((q, q, q), dict(observe=["colour"]), "[attention] expected observe's names out of lse, entropy, max, key_mass, "
                                              "top_k:k, effective_keys, distance, first_key, near:left,right, "
                                              "key_sets, block_mass, got 'colour'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as found:
            fovea.attention(*arguments, **keywords)
        assert str(found.value) == message
    with pytest.raises(ValueError, match=r"\[set_num_threads\] expected n in \[1, 1024\], got 0"):
        fovea.set_num_threads(0)
    with pytest.raises(ValueError, match=r"\[set_num_threads\] expected n as an integer, got 'two'"):
        fovea.set_num_threads("two")


def test_unusual_numbers_stay_where_they_belong():
    rng = np.random.default_rng(6)
    q, k, v = (normal(rng, 1, 2, 20, 8) for _ in range(3))
    expected = fovea.attention(q, k, v, causal=True)
    spoilt = q.copy()
    spoilt[0, 1, 7] = np.nan
    out = fovea.attention(spoilt, k, v, causal=True)
    assert np.isnan(out[0, 1, 7]).all()
    others = np.ones((1, 2, 20), bool)
    others[0, 1, 7] = False
    assert (out[others] == expected[others]).all()
    assert np.isfinite(fovea.attention(1e4 * q, k, v)).all()
    assert np.isfinite(fovea.attention(1e-40 * q, k, v)).all()


@pytest.mark.parametrize("block", range(10))
def test_random_calls_of_everything_are_refused_or_right(block):
    made = sum(one_call(seed) for seed in range(block * 400, block * 400 + 400))
    assert made > 150
