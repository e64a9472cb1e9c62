"""Block masks: what each pattern lets see, and that attention obeys."""

import numpy as np
import pytest
import reference
from cases import normal

import fovea
from fovea import BlockMask

I, J = np.arange(50)[:, None], np.arange(70)[None, :]
PLACE = I + 20


@pytest.mark.parametrize(
    "mask, expected",
    [
        (BlockMask.causal(), J <= PLACE),
        (BlockMask.window(5, -1), J >= PLACE - 5),
        (BlockMask.window(0, 3), (J >= PLACE) & (J <= PLACE + 3)),
        (BlockMask.strided(7), (PLACE - J) % 7 == 0),
        (BlockMask.dilated(12, 6, 3), (J >= PLACE - 12) & (J <= PLACE + 6) & ((PLACE - J) % 3 == 0)),
        (BlockMask.global_tokens(2), (I < 2) | (J < 2)),
        (BlockMask.prefix(30), (J <= PLACE) | (J < 30)),
        (BlockMask.documents(np.arange(50) // 9, np.arange(70) // 9), I // 9 == J // 9),
        (BlockMask.from_function(lambda i, j: (i * j) % 5 == 1), (I * J) % 5 == 1),
        (BlockMask.causal() & BlockMask.strided(2) | BlockMask.global_tokens(1),
         ((J <= PLACE) & ((PLACE - J) % 2 == 0)) | (I < 1) | (J < 1)),
    ],
)
def test_patterns_see_what_they_say(mask, expected):
    assert (mask.dense(50, 70) == expected).all()
    rng = np.random.default_rng(0)
    q, k, v = normal(rng, 2, 2, 50, 8), normal(rng, 2, 1, 70, 8), normal(rng, 2, 1, 70, 8)
    out = fovea.attention(q, k, v, blocks=mask)
    ref = reference.attention(q, k, v, mask=expected)
    np.testing.assert_allclose(out, ref.out, rtol=0, atol=reference.tolerance(q, k, v, ref, 8**-0.5))
    np.testing.assert_array_equal(out == 0, fovea.attention(q, k, v, mask=expected) == 0)


def test_bitmaps_for_all_for_each_head_and_for_each_sequence():
    rng = np.random.default_rng(1)
    q, v = normal(rng, 2, 3, 40, 8), normal(rng, 2, 3, 40, 8)
    for lead in ((), (3,), (2, 3)):
        bitmap = rng.random((*lead, 3, 4)) < 0.6
        blocks = BlockMask(bitmap, block=(16, 10))
        dense = np.repeat(np.repeat(bitmap, 16, axis=-2), 10, axis=-1)[..., :40, :40]
        assert (blocks.dense(40, 40) == dense).all()
        expected = fovea.attention(q, q, v, mask=dense)
        np.testing.assert_allclose(fovea.attention(q, q, v, blocks=blocks), expected, atol=1e-6)
        both = fovea.attention(q, q, v, blocks=blocks & BlockMask.causal())
        np.testing.assert_allclose(both, fovea.attention(q, q, v, mask=dense, causal=True), atol=1e-6)


def test_packed_sequences_have_their_own_lengths():
    q = normal(np.random.default_rng(2), 70, 2, 8)
    blocks = BlockMask.longformer(3, 1)
    out = fovea.attention(q, q, q, q_offsets=[0, 20, 70], blocks=blocks)
    for a, b in ((0, 20), (20, 70)):
        assert out[a:b].tobytes() == fovea.attention(q[a:b], q[a:b], q[a:b], blocks=blocks).tobytes()


def test_ready_made_patterns_skip_most_tiles():
    whole = BlockMask.window(-1, -1).live_tiles(4096, 4096)
    assert whole == 64 * 64
    assert BlockMask.longformer(128, 16).live_tiles(4096, 4096) < whole / 5
    assert BlockMask.big_bird(64, 1, 3, 2, seed=1).live_tiles(4096, 4096) < whole / 5
    assert (BlockMask.random(8, 2, seed=3).dense(32, 32).sum(-1) == 16).all()
    assert (BlockMask.sparse_transformer(4).dense(12, 12) <= BlockMask.causal().dense(12, 12)).all()
    assert BlockMask.sparse_transformer(4, "fixed").dense(12, 12)[7, 3]


def test_gradients_obey_too():
    rng = np.random.default_rng(3)
    q, dout = normal(rng, 1, 2, 100, 8), normal(rng, 1, 2, 100, 8)
    blocks = BlockMask.window(10, 0) | BlockMask.global_tokens(1)
    got = fovea.attention_vjp(q, q, q, dout, blocks=blocks)
    expected = fovea.attention_vjp(q, q, q, dout, mask=blocks.dense(100, 100))
    for name in ("dq", "dk", "dv"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-5)


def test_pytorch_tensors_take_blocks():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: block masks under autograd are not tested")
    q = torch.randn(1, 2, 30, 8, requires_grad=True)
    blocks = BlockMask.prefix(5)
    dense = torch.from_numpy(blocks.dense(30, 30))
    out = fovea.attention(q, q, q, blocks=blocks)
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=dense)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    for a, b in zip(torch.autograd.grad(out.sum(), q), torch.autograd.grad(expected.sum(), q)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    compiled = torch.compile(lambda q: fovea.attention(q, q, q, blocks=blocks), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(q), out, rtol=0, atol=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: BlockMask(np.ones(3, bool)), r"\[BlockMask\] expected bitmap as booleans \[rows, columns\]"),
        (lambda: BlockMask(np.ones((2, 2))), "expected bitmap as booleans"),
        (lambda: BlockMask([[True]], block=(0, 1)), r"expected block in \[1, "),
        (lambda: BlockMask([[True]], block=4), r"expected block as \(bq, bk\), got 4"),
        (lambda: BlockMask.window(-2, 0), r"expected left in \[-1, "),
        (lambda: BlockMask.documents([0.5]), "expected q_ids as integers"),
        (lambda: BlockMask.sparse_transformer(4, "round"), "expected pattern out of 'strided', 'fixed'"),
        (lambda: BlockMask([[True]], block=(8, 8)).dense(9, 8), r"expected a bitmap of ceil\(9 / 8\)"),
        (lambda: BlockMask.longformer(1, 1).dense(3, 4), "expected as many queries as keys"),
        (lambda: BlockMask.documents([0, 1]).dense(3, 2), "expected ids of 3 queries and 2 keys, got 2 and 2"),
        (lambda: BlockMask.from_function(lambda i, j: i + j).dense(2, 2), "a function that gives booleans"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_blocks_must_fit_the_call():
    q = np.ones((1, 2, 8, 4), np.float32)
    with pytest.raises(ValueError, match="expected blocks as a fovea.BlockMask, got ndarray"):
        fovea.attention(q, q, q, blocks=np.ones((1, 1), bool))
    with pytest.raises(ValueError, match="expected blocks for 2 heads, got 3"):
        fovea.attention(q, q, q, blocks=BlockMask(np.ones((3, 1, 1), bool)))


def test_patterns_keep_only_so_many_compiled_lengths():
    mask = BlockMask.causal()
    for length in range(1, 400):
        assert mask._masks(length, length)[0].queries == length
    assert len(mask._made) == 256 and (399, 399) in mask._made
    assert mask._masks(1, 1)[0].queries == 1
