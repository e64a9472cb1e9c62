"""Scores of any size from Python: what is made again of a row (exact rows, masses, gradients) is what forward computed,
and a finite number hides no key."""

import numpy as np
import pytest

import fovea

LEVELS = (0.0, -1770.0, -1e4, -1e9, -1e38, -2.3e38, -2.4e38, float(np.finfo(np.float32).min), 1e9, 2.4e38)
KEYS = 10


def arrays(dtype=np.float32):
    rng = np.random.default_rng(0)
    k, v, dout = (rng.normal(size=(1, 1, n, 8)).astype(dtype) for n in (KEYS, KEYS, 1))
    return np.zeros((1, 1, 1, 8), dtype), k, v, dout


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_of_one_level_shares_alike(level, dtype):
    q, k, v, dout = arrays(dtype)
    bias = np.full((1, KEYS), level, dtype)
    out, seen = fovea.attention(q, k, v, bias=bias, observe=["max", "key_mass", "entropy", "effective_keys", "top_k:3"])
    np.testing.assert_allclose(out[0, 0, 0], v[0, 0].mean(0), atol=1e-6)
    np.testing.assert_allclose(seen.rows([0]), 0.1, rtol=1e-6)
    np.testing.assert_allclose(seen.key_mass, 0.1, rtol=1e-5)
    np.testing.assert_allclose(seen.max, 0.1, rtol=1e-6)
    np.testing.assert_allclose(seen.top_k.weights, 0.1, rtol=1e-6)
    np.testing.assert_allclose(seen.entropy, np.log(10), rtol=1e-6)
    np.testing.assert_allclose(seen.effective_keys, 10, rtol=1e-5)
    grads = fovea.attention_vjp(q, k, v, dout, bias=bias)
    np.testing.assert_allclose(grads.dv[0, 0], np.broadcast_to(dout[0, 0] / 10, (KEYS, 8)), rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_so_it_does_in_16_bits(level, kind):
    torch = pytest.importorskip("torch")
    q, k, v, dout = (torch.from_numpy(x).to(getattr(torch, kind)) for x in arrays())
    out, seen = fovea.attention(q, k, v, bias=torch.full((1, KEYS), level), observe=["key_mass"])
    np.testing.assert_allclose(out.float()[0, 0, 0], v.float()[0, 0].mean(0), atol=1e-2)
    np.testing.assert_allclose(seen.key_mass, 0.1, rtol=1e-5)
    np.testing.assert_allclose(seen.rows([0]), 0.1, rtol=1e-6)
    grads = fovea.attention_vjp(q, k, v, dout, bias=torch.full((1, KEYS), level))
    np.testing.assert_allclose(grads.dv.float()[0, 0], np.broadcast_to(dout.float()[0, 0] / 10, (KEYS, 8)), atol=2e-3)


def test_parts_of_a_row_at_one_level_count_by_their_keys():
    q, k, v, _ = arrays()
    cut = 3
    for level in LEVELS:
        bias = np.full((1, KEYS), level, np.float32)
        parts = [
            fovea.attention(q, k[:, :, a:b], v[:, :, a:b], bias=bias[:, a:b], observe=["key_mass", "entropy"])
            for a, b in ((0, cut), (cut, KEYS))
        ]
        out, seen = fovea.merge(parts)
        np.testing.assert_allclose(out[0, 0, 0], v[0, 0].mean(0), atol=1e-6)
        np.testing.assert_allclose(seen.rows([0]), 0.1, rtol=2e-6)
        np.testing.assert_allclose(seen.key_mass, 0.1, rtol=1e-5)
        np.testing.assert_allclose(seen.entropy, np.log(10), rtol=1e-5)
        np.testing.assert_allclose(seen.sampled_key_mass(2).mass, 0.1, rtol=2e-6)


def test_multihead_attention_shares_a_row_of_finfo_min_as_pytorch_does():
    torch = pytest.importorskip("torch")
    import fovea.torch

    torch.manual_seed(0)
    ours = fovea.torch.MultiheadAttention(4, 1, batch_first=True)
    theirs = torch.nn.MultiheadAttention(4, 1, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, mask = torch.randn(1, 2, 4), torch.full((2, 2), torch.finfo(torch.float32).min)
    for (out, weights), (wanted, wanted_weights) in [(ours(x, x, x, attn_mask=mask), theirs(x, x, x, attn_mask=mask))]:
        torch.testing.assert_close(weights, wanted_weights)
        torch.testing.assert_close(out, wanted)
