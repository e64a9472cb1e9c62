"""PyTorch tensors: the same results as PyTorch's own attention, autograd, torch.compile."""

import doctest

import numpy as np
import pytest
from cases import normal

import fovea

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing is compared with it")
from torch.nn.functional import scaled_dot_product_attention as theirs  # noqa: E402


def tensors(*shapes, grad=True, seed=0, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(normal(rng, *s)).to(dtype).requires_grad_(grad) for s in shapes]


def assert_near(got, expected, atol=2e-5):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def gradients(out, *inputs):
    rng = np.random.default_rng(3)
    return torch.autograd.grad((out * torch.from_numpy(rng.normal(size=out.shape)).to(out.dtype)).sum(), inputs)


def test_tensors_share_memory_and_come_back_as_tensors():
    q, k, v = tensors(*[(2, 4, 33, 16)] * 3, grad=False)
    out, seen = fovea.attention(q, k, v, observe=["entropy", "top_k:2"])
    assert isinstance(out, torch.Tensor) and isinstance(seen.rows([0]), torch.Tensor)
    assert seen.top_k.indices.dtype == torch.int64
    assert out.numpy().tobytes() == fovea.attention(q.numpy(), k.numpy(), v.numpy()).tobytes()


@pytest.mark.parametrize("seed", range(30))
def test_results_and_gradients_equal_pytorchs(seed):
    rng = np.random.default_rng(seed)
    length, keys = (int(x) for x in rng.choice([1, 5, 16, 33, 64, 100], size=2))
    causal = bool(rng.integers(2)) and length == keys
    group, width, value = int(rng.integers(1, 4)), int(rng.choice([8, 16, 33])), int(rng.choice([8, 24]))
    given = tensors((2, 2 * group, length, width), (2, 2, keys, width), (2, 2, keys, value), seed=seed)
    out = fovea.attention(*given, causal=causal)
    expected = theirs(*given, is_causal=causal, enable_gqa=True)
    assert_near(out, expected)
    for got, want in zip(gradients(out, *given), gradients(expected, *given)):
        assert_near(got, want, atol=2e-4)


def test_only_what_requires_a_gradient_gets_one():
    q, k, v = tensors(*[(1, 2, 8, 4)] * 3, grad=False)
    sinks = torch.zeros(2, requires_grad=True)
    slopes = torch.full((2,), 0.1, dtype=torch.float64, requires_grad=True)
    out, seen = fovea.attention(q, k, v, sinks=sinks, alibi=slopes, observe=["max"])
    out.square().sum().backward()
    assert sinks.grad is not None and slopes.grad.dtype == torch.float64 and q.grad is None
    assert seen.lse.requires_grad and not seen.max.requires_grad
    expected = fovea.attention_vjp(q, k, v, 2 * out.detach(), sinks=sinks, alibi=slopes)
    assert torch.equal(sinks.grad, expected.dsinks)
    with torch.no_grad():
        assert not fovea.attention(q, k, v, sinks=sinks).requires_grad


@pytest.mark.parametrize("trained", [(), ("bias",), ("alibi", "scale"), ("sinks", "bias"), ("relative",)])
def test_arrays_that_need_no_gradient_change_none(trained):
    q, k, v, bias = tensors(*[(2, 3, 40, 16)] * 3, (40, 40), seed=5)
    alibi, sinks, scale, table = tensors((3,), (3,), (3,), (5, 3), seed=6)
    arrays = {"bias": bias, "alibi": alibi, "sinks": sinks, "scale": scale, "relative": table}

    def gradients_of(names):
        made = {name: x if name in names else x.detach() for name, x in arrays.items()}
        made["relative"] = fovea.Relative(made["relative"], "distances")
        out = fovea.attention(q, k, v, **made)
        return dict(zip(("q", "k", "v", *names), gradients(out, q, k, v, *(arrays[name] for name in names))))

    whole = gradients_of(tuple(arrays))
    for name, x in gradients_of(trained).items():
        assert_near(x, whole[name], atol=1e-5 * whole[name].abs().max().item() + 1e-6)


def test_packed_gradients_and_interleaved_heads():
    qkv = tensors((40, 3, 4, 16))[0]
    q, k, v = qkv.unbind(1)
    out = fovea.attention(q, k, v, q_offsets=torch.tensor([0, 15, 40]), causal=True)
    grad = gradients(out, qkv)[0]
    for a, b in ((0, 15), (15, 40)):
        part = qkv[a:b].detach().requires_grad_()
        x, y, z = (t.transpose(0, 1)[None] for t in part.unbind(1))
        alone = theirs(x, y, z, is_causal=True)[0].transpose(0, 1)
        assert_near(out[a:b], alone)
        rng = np.random.default_rng(3).normal(size=out.shape)[a:b]
        assert_near(grad[a:b], torch.autograd.grad((alone * torch.from_numpy(rng).float()).sum(), part)[0], 2e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_tensors(dtype):
    given = tensors(*[(1, 2, 40, 32)] * 3, dtype=dtype)
    out = fovea.attention(*given)
    assert out.dtype == dtype
    assert_near(out, theirs(*given), atol=0.03)
    for got, want in zip(gradients(out, *given), gradients(theirs(*given), *given)):
        assert got.dtype == dtype
        assert_near(got, want, atol=0.1)


def test_compiles_without_a_graph_break():
    given = tensors(*[(2, 4, 33, 16)] * 3)

    def model(q, k, v):
        return fovea.attention(q * 2, k, v, causal=True).sin()

    compiled = torch.compile(model, fullgraph=True)
    out = compiled(*given)
    assert_near(out, model(*given))
    for got, want in zip(gradients(out, *given), gradients(model(*given), *given)):
        assert_near(got, want, atol=1e-4)
    packed = tensors(*[(20, 4, 16)] * 3)
    offsets = torch.tensor([0, 7, 20])
    compiled = torch.compile(
        lambda q, k, v: fovea.attention(q, k, v, q_offsets=offsets) + 1, fullgraph=True, backend="aot_eager"
    )
    assert_near(compiled(*packed), fovea.attention(*packed, q_offsets=offsets) + 1)


def test_changes_in_place_and_functional_transforms_are_refused():
    q, k, v = tensors(*[(1, 2, 8, 4)] * 3, grad=False)
    with pytest.raises(RuntimeError, match="outside of torch.func's transforms"):
        torch.func.grad(lambda q: fovea.attention(q, k, v).sum())(q)
    k = k.clone().requires_grad_() * 1
    out = fovea.attention(q, k, v)
    k.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_the_operator_and_the_eager_call_have_the_same_bits():
    q, k, v = tensors((2, 4, 9, 16), (2, 2, 12, 16), (2, 2, 12, 8))
    bias, sinks = tensors((4, 1, 12), (4,))
    keywords = dict(bias=bias, sinks=sinks, causal=True, observe=["max", "top_k:2", "key_mass"])
    eager, seen = fovea.attention(q, k, v, **keywords)
    compiled = torch.compile(lambda q, k, v: fovea.attention(q, k, v, **{**keywords, "observe": None}),
                             fullgraph=True, backend="aot_eager")  # fmt: skip
    out = compiled(q, k, v)
    assert torch.equal(out, eager) and out.stride() == eager.stride()
    for a, b in zip(gradients(out, q, k, v, bias, sinks), gradients(eager, q, k, v, bias, sinks)):
        assert torch.equal(a, b)
    inside, watched = torch.compile(lambda q: fovea.attention(q, k, v, **keywords), backend="aot_eager")(q)
    assert torch.equal(inside, eager) and torch.equal(watched.key_mass, seen.key_mass)
    assert torch.equal(watched.top_k.indices, seen.top_k.indices) and torch.equal(watched.rows([3]), seen.rows([3]))


def test_the_operators_keep_pytorchs_contract():
    q, k, v = tensors((2, 4, 9, 16), (2, 2, 12, 16), (2, 2, 12, 8))
    sinks = torch.zeros(4, requires_grad=True)
    rotary = fovea.Rotary()
    options = ("scaled_dot", "softmax", None, True, False, -1, -1, 0.0, 5, 0.0, 0, "strict", "distances", 1, True, 0, rotary._number, 0)
    sets = torch.arange(12) % 3 - 1
    bias = torch.randn(4, 1, 12, requires_grad=True)
    table = torch.randn(5, 4, requires_grad=True)
    arrays = (bias, None, sinks, None, table, torch.ones(9, 12, dtype=torch.bool), None, None, sets, None)
    observe = "entropy|max|key_mass|top_k:3|near:2,0|key_sets|block_mass"
    torch.library.opcheck(torch.ops.fovea.attention.default, (q, k, v, *arrays, *options, observe))
    packed = [x.transpose(1, 2).reshape(-1, *x.shape[1::2]).detach() for x in (q, k, v)]
    offsets = torch.tensor([0, 9, 18]), torch.tensor([0, 12, 24])
    arrays = (*[None] * 6, *offsets, None, None)
    torch.library.opcheck(torch.ops.fovea.attention.default, (*packed, *arrays, *options, "key_mass|distance"))


def test_the_second_gradient_says_that_it_is_not_there():
    x = tensors((1, 1, 4, 8))[0]
    (first,) = torch.autograd.grad(fovea.attention(x, x, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"\[attention\] the gradient of attention's gradient is not there"):
        first.sum().backward()


def test_tensors_that_cannot_be_read_are_refused():
    q = torch.ones(1, 1, 4, 8)
    for wrong in (q.to_sparse(), q.int(), q.to(torch.complex64)):
        with pytest.raises(ValueError, match="expected"):
            fovea.attention(wrong, wrong, wrong)
    with pytest.raises(ValueError, match="all as NumPy, all as PyTorch or all as JAX"):
        fovea.attention(q, q.numpy(), q)


def test_threads_are_shared_with_pytorch():
    """One OpenMP runtime serves both, so that `set_num_threads` and torch.set_num_threads are one number to oneDNN."""
    import os

    a = torch.randn(600, 600)
    q = torch.randn(1, 8, 512, 64)
    for _ in range(3):
        a @ a
        (a + 1).exp()
        fovea.attention(q, q, q)
    with open("/proc/self/maps") as maps:
        runtimes = {line.split()[-1] for line in maps if "libgomp" in line}
    assert len(runtimes) == 1, runtimes
    assert fovea.get_num_threads() <= os.cpu_count()


def test_examples_in_docstrings():
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(fovea.torch.__path__):
        assert doctest.testmod(importlib.import_module(f"fovea.torch.{module.name}")).failed == 0


def test_one_trainable_scale_serves_all_heads():
    q, k, v = tensors((2, 4, 9, 8), (2, 2, 9, 8), (2, 2, 9, 8))
    scale = torch.tensor(3.0, requires_grad=True)
    for given in (scale, scale.reshape(1)):
        each = scale.detach().expand(4).clone().requires_grad_()
        got = gradients(fovea.attention(q, k, v, score="cosine", scale=given), scale)[0]
        want = gradients(fovea.attention(q, k, v, score="cosine", scale=each), each)[0]
        assert got.shape == () and torch.allclose(got, want.sum())


KEYWORDS = [
    dict(score="cosine", scale=8.0),
    dict(normalizer="softmax1"),
    dict(scale=[0.1, 0.2, 0.3, 0.4]),
    dict(window=(3, 0), softcap=5.0),
    dict(mask=np.tri(20, dtype=bool)),
    dict(mask=torch.ones(20, 20, dtype=torch.bool).tril()),
    dict(bias=np.ones((4, 1, 20), np.float32), sinks=[0.0, 1.0, 2.0, 3.0]),
    dict(blocks=fovea.BlockMask.window(4, 4), alibi=[0.1, 0.2, 0.3, 0.4]),
    dict(top_k=3),
    dict(dropout=0.25, seed=5),
    dict(relative=fovea.Relative(np.ones((5, 4)), "distances")),
    dict(rotary=fovea.Rotary()),
    dict(override=fovea.Override({0: "uniform"})),
    dict(precision="fast"),
]


@pytest.mark.parametrize("keywords", KEYWORDS, ids=lambda keywords: "+".join(keywords))
def test_every_keyword_compiles_to_the_same_bits(keywords):
    given = tensors((2, 4, 20, 16), (2, 2, 20, 16), (2, 2, 20, 24))
    torch._dynamo.reset()

    def call(q, k, v):
        return fovea.attention(q, k, v, causal=True, **keywords)

    out, expected = torch.compile(call, fullgraph=True, backend="aot_eager")(*given), call(*given)
    assert torch.equal(out, expected)
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), given) for x in (out, expected))):
        assert torch.equal(a, b)


def test_compiled_calls_compute_only_the_gradients_that_are_asked_for(monkeypatch):
    from fovea._call import Call

    asked, backward = [], Call.backward

    def watched(self, out, saved, dout, wanted, dlse):
        asked.append(list(wanted))
        return backward(self, out, saved, dout, wanted, dlse)

    monkeypatch.setattr(Call, "backward", watched)
    q, k, v = tensors(*[(1, 2, 9, 8)] * 3)
    bias, sinks = torch.zeros(9, 9, requires_grad=True), torch.zeros(2)
    torch._dynamo.reset()
    call = torch.compile(lambda q, **keywords: fovea.attention(q, k, v, **keywords), backend="aot_eager")
    call(q, bias=bias, sinks=sinks).sum().backward()
    call(q, sinks=sinks, override=fovea.Override({0: "uniform"})).sum().backward()
    assert asked == [["bias"], []] and bias.grad is not None


def test_rows_are_there_inside_compiled_functions():
    given = tensors((2, 4, 20, 16), (2, 2, 20, 16), (2, 2, 20, 24), grad=False)

    def call(q, k, v):
        out, seen = fovea.attention(q, k, v, observe=["entropy", "key_mass"])
        return out + 1, seen.entropy * 2, seen.rows([3, 4]), seen.sampled_key_mass(20).mass

    torch._dynamo.reset()
    for a, b in zip(torch.compile(call, backend="aot_eager")(*given), call(*given)):
        assert torch.equal(a, b)
