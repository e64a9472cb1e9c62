"""float64 arrays are computed in float64: every option, forward and backward, to float64's rounding."""

import numpy as np
import pytest
import reference
from cases import normal, random_case

import fovea

EPS64 = float(np.finfo(np.float64).eps)
STEP = 1e-5


@pytest.mark.parametrize("block", range(10))
def test_random_calls_equal_the_definition_to_float64_rounding(block):
    for seed in range(3000 + block * 10, 3000 + block * 10 + 10):
        case = random_case(seed, dtype=np.float64, longest=65)
        out, seen = fovea.attention(case.q, case.k, case.v, **case.keywords, observe=["entropy"])
        assert out.dtype == seen.lse.dtype == seen.entropy.dtype == np.float64
        ref = reference.attention(case.q, case.k, case.v, **case.keywords)
        bound = 4 * reference.tolerance(case.q, case.k, case.v, ref, case.scale, eps=EPS64)
        np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound, err_msg=f"{seed} {case.keywords}")


@pytest.mark.parametrize("block", range(10))
def test_random_gradients_equal_central_differences(block):
    for seed in range(4000 + block * 5, 4000 + block * 5 + 5):
        case = random_case(seed, dtype=np.float64, longest=33)
        rng = np.random.default_rng(seed)
        dout = rng.normal(size=(*case.q.shape[:-1], case.v.shape[-1]))
        for name in ("alibi", "sinks", "bias", "scale"):
            if isinstance(case.keywords.get(name), np.ndarray):
                case.keywords[name] = case.keywords[name].astype(np.float64)
        grads = fovea.attention_vjp(case.q, case.k, case.v, dout, **case.keywords)
        arguments = dict(q=case.q, k=case.k, v=case.v, **case.keywords)
        for name, x in arguments.items():
            if name == "mask" or not isinstance(x, np.ndarray):
                continue
            direction = rng.normal(size=x.shape) / max(np.sqrt(x.size), 1)

            def value(t, name=name, x=x, direction=direction):
                return (reference.attention(**{**arguments, name: x + t * direction}).out * dout).sum()

            # The error of a central difference is STEP² times the third derivative, here below 1e3.
            expected = (value(STEP) - value(-STEP)) / (2 * STEP)
            got = (getattr(grads, "d" + name) * direction).sum()
            assert abs(got - expected) < 1e-6 * max(1, abs(expected)), (seed, name, got, expected)


def test_float32_gradients_are_near_the_float64_ones():
    """The float32 kernels' gradients, relative to the largest: a sum of Lk·D products at float32's rounding."""
    worst = 0.0
    for seed in range(5000, 5080):
        case = random_case(seed, longest=65)
        dout = normal(np.random.default_rng(seed), *case.q.shape[:-1], case.v.shape[-1])
        grads = fovea.attention_vjp(case.q, case.k, case.v, dout, **case.keywords)
        wide = {n: x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x
                for n, x in case.keywords.items()}
        exact = fovea.attention_vjp(*(x.astype(np.float64) for x in (case.q, case.k, case.v, dout)), **wide)
        for name, want in vars(exact).items():
            # dS = P∘(dP − δ) loses what dP and δ have in common: their size, not their difference, sets the error.
            size = np.abs(dout).max() * np.abs(case.v).max() * case.v.shape[-1] * max(1, np.abs(case.q).max())
            bound = 100 * reference.EPS32 * size * np.sqrt(case.q.shape[2] * case.k.shape[2] + 1)
            error = np.abs(getattr(grads, name) - want).max(initial=0)
            worst = max(worst, error / bound)
            assert error <= bound * max(1, np.abs(want).max(initial=0)), (seed, name, error, bound)
    assert worst > 1e-4  # the bound means something


def test_packed_is_the_same_as_one_by_one_in_float64():
    rng = np.random.default_rng(1)
    q = rng.normal(size=(20, 4, 8))
    out = fovea.attention(q, q, q, q_offsets=[0, 8, 20], causal=True)
    for a, b in ((0, 8), (8, 20)):
        assert out[a:b].tobytes() == fovea.attention(q[a:b], q[a:b], q[a:b], causal=True).tobytes()


def test_gradcheck():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its gradcheck does not run")
    rng = np.random.default_rng(2)
    q, k, v = (torch.from_numpy(rng.normal(size=(1, 2, 4, 3))).requires_grad_() for _ in range(3))
    bias = torch.from_numpy(rng.normal(size=(2, 1, 4))).requires_grad_()
    sinks = torch.from_numpy(rng.normal(size=2)).requires_grad_()
    slopes = torch.from_numpy(rng.uniform(size=2)).requires_grad_()
    scale = torch.from_numpy(rng.uniform(0.2, 0.6, size=2)).requires_grad_()

    def call(q, k, v, bias, sinks, slopes, scale):
        return fovea.attention(q, k, v, bias=bias, sinks=sinks, alibi=slopes, scale=scale, softcap=3.0, causal=True)

    assert torch.autograd.gradcheck(call, (q, k, v, bias, sinks, slopes, scale))


HIDDEN_OPTIONS = [
    {}, dict(causal=True), dict(score="cosine"), dict(score="neg_sq_l2"), dict(score="neg_sq_lorentz"), dict(softcap=2.0),
    dict(alibi=np.array([0.1, 0.2])), dict(sinks=np.array([0.5, -1.0])), dict(normalizer="softmax1"), dict(top_k=3),
    dict(scale=np.array([0.3, -0.7])), dict(override=fovea.Override({1: "off"})), dict(window=(9, 4)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("by", ["bias", "mask"])
@pytest.mark.parametrize("options", HIDDEN_OPTIONS, ids=lambda x: "-".join(x) or "plain")
def test_what_a_bias_of_minus_infinity_or_a_mask_hides_changes_no_bit(options, by, wrong, dtype):
    """Keys and values that no query sees, and a query that sees no key, may hold anything: output, what observers saw,
    exact rows and gradients are those of zeros in their place, and what is hidden has the gradient 0."""
    rng = np.random.default_rng(7)
    q, k, v, dout = (rng.normal(size=(2, 2, n, 8)) for n in (11, 70, 70, 11))
    bias = rng.normal(size=(2, 1, 11, 70))
    hidden = np.zeros(70, bool)
    hidden[[0, 5, 40, 69]] = True
    bias[..., hidden] = -np.inf
    bias[:, :, 4] = -np.inf
    bias = bias.astype(np.float64 if dtype == np.float64 else np.float32)
    hides = {by: bias if by == "bias" else bias > -np.inf}
    if dtype != np.float64:
        options = {n: np.float32(x) if isinstance(x, np.ndarray) else x for n, x in options.items()}
    observe = ["entropy", "max", "key_mass", "top_k:3", "effective_keys", "distance", "first_key", "near:5,2", "block_mass"]

    def everything(value):
        a, b, c, g = (x.copy() for x in (q, k, v, dout))
        a[:, :, 4] = value
        b[:, :, hidden] = c[:, :, hidden] = value
        a, b, c, g = (x.astype(dtype) for x in (a, b, c, g))
        out, seen = fovea.attention(a, b, c, **hides, observe=observe, **options)
        found = {"out": out, "rows": seen.rows([0, 4, 10])}
        found.update({name: np.asarray(getattr(seen, name)) for name in dir(seen)
                      if isinstance(getattr(seen, name), np.ndarray)})
        found.update(zip(("top indices", "top weights"), (seen.top_k.indices, seen.top_k.weights), strict=True))
        if "override" not in options:
            found.update({n: x for n, x in vars(fovea.attention_vjp(a, b, c, g, **hides, **options)).items() if x is not None})
        return found

    clean, spoilt = everything(0.0), everything(wrong)
    for name, x in clean.items():
        np.testing.assert_array_equal(spoilt[name], x, err_msg=name)
    if "dk" in spoilt:
        assert not spoilt["dk"][:, :, hidden].any() and not spoilt["dv"][:, :, hidden].any() and not spoilt["dq"][:, :, 4].any()
