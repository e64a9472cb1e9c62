"""A bias by distance equals the same bias written out; its gradient is that one's, summed by rows."""

import numpy as np
import pytest
import reference
from cases import normal, random_relative

import fovea


def written_out(relative, lq, lk):
    i, j = reference.places(lq, lk)
    rows = reference.relative_rows(relative, j - i)
    return rows, np.asarray(relative.table)[rows].transpose(2, 0, 1)


@pytest.mark.parametrize("seed", range(30))
def test_it_equals_the_bias_written_out(seed):
    rng = np.random.default_rng(seed)
    lq, lk, heads = int(rng.choice([1, 9, 64, 130])), int(rng.choice([1, 40, 65])), 4
    q, k, v = normal(rng, 2, heads, lq, 16), normal(rng, 2, 2, lk, 16), normal(rng, 2, 2, lk, 8)
    dout = normal(rng, 2, heads, lq, 8)
    keywords = dict(causal=bool(rng.integers(2)), softcap=3.0 if rng.integers(2) else None)
    relative = random_relative(rng, heads)
    rows, bias = written_out(relative, lq, lk)
    for dtype, eps in ((np.float32, 2.0**-23), (np.float64, 2.0**-52)):
        given = [x.astype(dtype) for x in (q, k, v)]
        table = relative.table.astype(dtype)
        same = fovea.Relative(table, relative.kind, max_distance=relative.max_distance, bidirectional=relative.bidirectional)
        grads = fovea.attention_vjp(*given, dout.astype(dtype), relative=same, **keywords)
        expected = fovea.attention_vjp(*given, dout.astype(dtype), bias=bias.astype(dtype), **keywords)
        # Sums of as many terms as there are pairs, each at most 2·|dout|·|v|·Dv.
        bound = 16 * eps * np.sqrt(2 * lq * lk) * np.abs(dout).max() * np.abs(v).max() * 8
        np.testing.assert_allclose(grads.dq, expected.dq, rtol=0, atol=bound)
        dtable = np.zeros_like(table)
        for h in range(heads):
            np.add.at(dtable[:, h], rows, expected.dbias[h])
        np.testing.assert_allclose(grads.drelative, dtable, rtol=0, atol=bound)
        assert grads.drelative.dtype == dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_pytorch_learns_the_table(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its autograd is not tested")
    real = torch.float64 if dtype == "float64" else torch.float32
    q, k, v = (torch.randn(1, 2, 10, 8, dtype=real).to(getattr(torch, dtype)).requires_grad_() for _ in range(3))
    table = torch.randn(8, 2, dtype=real, requires_grad=True)

    def call(q, k, v, table):
        return fovea.attention(q, k, v, causal=True, relative=fovea.Relative(table, max_distance=20, bidirectional=False))

    out = call(q, k, v, table)
    out.sum().backward()
    direct = fovea.attention_vjp(
        *(x.detach() for x in (q, k, v)), torch.ones_like(out), causal=True,
        relative=fovea.Relative(table.detach(), max_distance=20, bidirectional=False),
    )  # fmt: skip
    assert torch.equal(table.grad, direct.drelative) and torch.equal(q.grad, direct.dq)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(q, k, v, table), out)
    if dtype == "float64":
        assert torch.autograd.gradcheck(call, (q, k, v, table))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda q: fovea.Relative(None), r"\[Relative\] expected table \[rows, H\], got None"),
        (lambda q: fovea.Relative(q, "near"), r"\[Relative\] expected kind out of 'buckets', 'distances', got 'near'"),
        (lambda q: fovea.Relative(q, max_distance=0), r"\[Relative\] expected max_distance in \[1, "),
        (lambda q: fovea.attention(q, q, q, relative=np.zeros((8, 2))), "expected relative as a fovea.Relative, got ndarray"),
        (lambda q: fovea.attention(q, q, q, relative=fovea.Relative(np.zeros((8, 3)))), r"relative's table \[rows, 2\], got \[8, 3\]"),
        (lambda q: fovea.attention(q, q, q, relative=fovea.Relative("a")), "expected relative's table as a NumPy"),
        (lambda q: fovea.attention(q, q, q, relative=fovea.Relative(np.zeros((4, 2)), "distances")), "expected an odd number of rows"),
        (lambda q: fovea.attention(q, q, q, relative=fovea.Relative(np.zeros((2, 2)))), "expected at least 4 relative buckets"),
        (lambda q: fovea.attention(q, q, q, relative=fovea.Relative(np.zeros((0, 2)))), r"relative's table \[rows, 2\], got \[0, 2\]"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((1, 2, 3, 4), np.float32))
