"""The gradient of seen.lse, beside that of the output and alone, however autograd reaches it."""

import numpy as np
import pytest

import fovea

torch = pytest.importorskip("torch")

CASES = {
    "plain": {},
    "causal": dict(causal=True),
    "window": dict(window=(3, 0)),
    "sinks": dict(sinks=[0.3, -0.2]),
    "softcap": dict(softcap=2.0),
    "alibi": dict(alibi=[0.1, 0.4]),
    "cosine": dict(score="cosine", scale=3.0),
    "neg_sq_l2": dict(score="neg_sq_l2", scale=0.2),
    "top_k": dict(top_k=3),
}


def tensors(dtype=torch.float32, length=7):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 2, length, 8, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(3)]


def loss(out, lse, with_out=True):
    pull = torch.linspace(-1, 1, lse.numel(), dtype=lse.dtype).reshape(lse.shape)
    return (pull * lse).sum() + (lse**2).sum() + (out.sum() if with_out else 0)


def gradients(dtype, keywords, with_out=True, call=fovea.attention):
    q, k, v = tensors(dtype)
    out, seen = call(q, k, v, **keywords, observe=[])
    assert seen.lse.requires_grad
    return torch.autograd.grad(loss(out, seen.lse, with_out), [q, k] if not with_out else [q, k, v])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_out", [True, False])
def test_equals_float64s(case, with_out):
    for found, wanted in zip(gradients(torch.float32, CASES[case], with_out), gradients(torch.float64, CASES[case], with_out)):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", [name for name in CASES if name != "top_k"])
def test_float64s_passes_gradcheck(case):
    q, k, v = tensors(torch.float64, 4)

    def both(q, k, v):
        out, seen = fovea.attention(q, k, v, **CASES[case], observe=[])
        return out, seen.lse

    assert torch.autograd.gradcheck(both, (q, k, v))


def test_equals_the_definition():
    q, k, v = tensors(torch.float64)
    scores = q @ k.transpose(-1, -2) / 8**0.5
    wanted = torch.autograd.grad(loss(scores.softmax(-1) @ v, scores.logsumexp(-1)), [q, k, v])
    for found, right in zip(gradients(torch.float32, {}), wanted):
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_of_16_bits_is_near(dtype):
    for found, wanted in zip(gradients(dtype, {}), gradients(torch.float64, {})):
        torch.testing.assert_close(found.double(), wanted, rtol=0.05, atol=0.05)


def test_compiled_and_recorded_calls_have_it():
    eager = gradients(torch.float32, {})
    for found, wanted in zip(gradients(torch.float32, {}, call=torch.compile(fovea.attention, backend="aot_eager")), eager):
        torch.testing.assert_close(found, wanted)

    q, k, v = tensors()
    out, seen = fovea.attention(q, k, v, observe=[])
    again = torch.autograd.grad(loss(out, seen.lse), [q, k, v], create_graph=True)  # by the operator
    for found, wanted in zip(again, eager):
        torch.testing.assert_close(found, wanted)


def test_trained_parameters_have_their_part():
    for name, number in (("sinks", [0.3, -0.2]), ("alibi", [0.1, 0.4]), ("scale", [0.5, 0.7])):
        found = []
        for dtype in (torch.float32, torch.float64):
            q, k, v = (x.detach() for x in tensors(dtype))
            x = torch.tensor(number, dtype=dtype, requires_grad=True)
            out, seen = fovea.attention(q, k, v, **{name: x}, observe=[])
            found.append(torch.autograd.grad(loss(out, seen.lse), x)[0].double())
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_vjp_takes_it_and_names_what_does_not_fit():
    q, k, v = (x.detach().numpy() for x in tensors())
    dlse = np.random.default_rng(0).normal(size=(2, 2, 7)).astype(np.float32)
    dout = np.ones_like(q)
    both = fovea.attention_vjp(q, k, v, dout, dlse=dlse)
    t = [torch.from_numpy(x).requires_grad_() for x in (q, k, v)]
    out, seen = fovea.attention(*t, observe=[])
    wanted = torch.autograd.grad(out.sum() + (seen.lse * torch.from_numpy(dlse)).sum(), t)
    for found, right in zip((both.dq, both.dk, both.dv), wanted):
        np.testing.assert_array_equal(found, right.numpy())
    with pytest.raises(ValueError, match=r"expected dlse \[2, 2, 7\] like lse, got"):
        fovea.attention_vjp(q, k, v, dout, dlse=dlse[..., :3])
    with pytest.raises(ValueError, match="expected dlse of q's kind"):
        fovea.attention_vjp(q, k, v, dout, dlse=torch.from_numpy(dlse))
