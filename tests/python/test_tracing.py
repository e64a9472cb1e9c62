"""Recorders of PyTorch code (torch.jit, torch.export, torch.fx, make_fx, torch.compile) record the calls: what they made
computes on other values and other lengths, or refuses."""

import io
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: tracing is not tested")

from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import fovea  # noqa: E402
import fovea.torch  # noqa: E402

ROTARY = fovea.Rotary("interleaved")
BLOCKS = fovea.BlockMask.window(3, 1) | fovea.BlockMask.global_tokens(1)


def fresh(length=5, batch=2):
    return torch.randn(batch, 2, length, 8)


class Attend(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, q):
        return self.call(q)


class Layer(torch.nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.layer = fovea.torch.MultiheadAttention(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, q):
        x = q.flatten(0, 1)
        return self.layer(x, x, x, need_weights=self.need_weights)[int(self.need_weights)]


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layer.self_attn = fovea.torch.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, q):
        return self.layer(q.flatten(0, 1))


def entropy(q):
    out, seen = fovea.attention(q, q, q, observe=["entropy", "top_k:2", "key_mass"])
    return seen.entropy + seen.lse + seen.key_mass + seen.top_k.weights.sum(-1)


def more_keys(q):
    """Lengths of queries and keys differ, so that the alignment of causality shows."""
    return fovea.torch.scaled_dot_product_attention(q, torch.cat([q, q, q], -2), torch.cat([q, q, q], -2), is_causal=True)


def fewer_keys(q):
    half = torch.cat([q, q + 1], -2)
    return fovea.torch.scaled_dot_product_attention(half, q, q, is_causal=True)


CALLS = {
    "causal": lambda q: fovea.attention(q, q, q, causal=True),
    "options": lambda q: fovea.attention(q, q, q, window=(3, 0), softcap=5.0, sinks=[0.5, 1.0], rotary=ROTARY, blocks=BLOCKS),
    "scale of the input": lambda q: fovea.attention(q, q, q, scale=q.square().mean()),
    "bias of the input": lambda q: fovea.attention(q, q, q, bias=q @ q.transpose(-2, -1)),
    "seen": entropy,
    "vjp": lambda q: fovea.attention_vjp(q, q, q, q + 1, alibi=q[0, :, 0, 0]).dq,
    "tiles": lambda q: fovea.attention(q, q, q, observe=["block_mass"])[1].block_mass * 2,
    "relative": lambda q: fovea.attention(q, q, q, relative=fovea.Relative(q[0, :, :1, 0].T, "distances")),
    "packed": lambda q: fovea.attention(*[q[0].transpose(0, 1)] * 3, causal=True),
    "sdpa": lambda q: fovea.torch.scaled_dot_product_attention(q, q, q, is_causal=True),
    "sdpa, more keys": more_keys,
    "sdpa, fewer keys": fewer_keys,
    "layer": Layer(False),
    "layer's weights": Layer(True),
    "encoder": Encoder().eval(),
}


def jit(call):
    with torch.no_grad():
        traced = torch.jit.trace(call, (fresh(),))
    saved = io.BytesIO()
    torch.jit.save(traced, saved)
    saved.seek(0)
    return torch.jit.load(saved)


def export(call):
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("length")}
    module = call if isinstance(call, torch.nn.Module) else Attend(call)
    return torch.export.export(module, (fresh(),), dynamic_shapes=(sizes,)).module()


RECORDERS = {
    "torch.jit.trace": jit,
    "torch.export": export,
    "torch.fx": torch.fx.symbolic_trace,
    "make_fx": lambda call: make_fx(call, tracing_mode="symbolic")(fresh()),
    "torch.compile": lambda call: torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("recorder", RECORDERS)
def test_recorded_calls_compute_on_other_values_and_lengths(recorder, name):
    call = CALLS[name]
    if recorder == "make_fx" and isinstance(call, torch.nn.Module):
        pytest.skip("make_fx takes no parameters but as inputs, PyTorch's own layers' neither")
    if recorder in ("torch.export", "make_fx", "torch.compile") and name == "tiles":
        pytest.skip("PyTorch's compilers make a size of 1, which the example's tiles have, a constant, and say so")
    torch.manual_seed(3)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # our own shapes are checked when it runs
        recorded = RECORDERS[recorder](call)
    for q in (fresh(), fresh(9), fresh(70, 3), fresh(2, 1)):
        with torch.no_grad():
            torch.testing.assert_close(recorded(q), call(q), rtol=1e-5, atol=1e-5)


def test_traced_calls_have_gradients():
    traced = torch.jit.trace(CALLS["causal"], (fresh(),))
    q = fresh(7).requires_grad_()
    (found,) = torch.autograd.grad(traced(q).square().sum(), q)
    (expected,) = torch.autograd.grad(CALLS["causal"](q).square().sum(), q)
    torch.testing.assert_close(found, expected)


def test_traced_dropout_draws_anew():
    traced = torch.jit.trace(
        lambda q: fovea.torch.scaled_dot_product_attention(q, q, q, dropout_p=0.5), (fresh(),), check_trace=False
    )
    q = fresh()
    torch.manual_seed(0)
    first, second = traced(q), traced(q)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(fovea.torch.scaled_dot_product_attention(q, q, q, dropout_p=0.5), first)


CACHE = fovea.KvCache(kv_heads=2, width=8)


def test_what_tracing_cannot_record_is_refused():
    CACHE.append(torch.randn(6, 2, 8), torch.randn(6, 2, 8))
    for call in (
        lambda q: fovea.attention_decode(q[:1, :, :1], CACHE),
        lambda q: fovea.attention(q, q, q, observe=[])[1].rows([0]),
        lambda q: fovea.attention(q, q, q, blocks=fovea.BlockMask(q[0, 0, :1, :1] > 0)),
    ):
        for recorder in (lambda call: torch.jit.trace(call, (fresh(),)), lambda call: make_fx(call)(fresh())):
            with pytest.raises(ValueError, match=r"read outside of tracing"):
                recorder(call)
    with pytest.raises(ValueError, match="which torch.fx's graphs do not record"):
        torch.fx.symbolic_trace(lambda q: fovea.attention_decode(q, CACHE))


def scripted(q: torch.Tensor):
    return fovea.torch.scaled_dot_product_attention(q, q, q, None, 0.0, True, None, False)


def not_scripted(q: torch.Tensor):
    return fovea.attention(q, q, q)


def test_torch_script_calls_the_drop_in_and_refuses_the_rest():
    q = fresh(9)
    assert torch.equal(torch.jit.script(scripted)(q), scripted(q))
    with pytest.raises(Exception, match="fovea"):
        torch.jit.script(not_scripted)
    with pytest.raises(RuntimeError, match=r"\[MultiheadAttention\] expected torch.jit.trace, torch.export"):
        torch.jit.script(Encoder())


def test_onnx_refuses_the_operator_by_name():
    with pytest.raises(Exception, match="fovea::attention"):
        torch.onnx.export(Attend(CALLS["causal"]), (fresh(),), io.BytesIO(), dynamo=False)


LOADED = """
import sys, torch, fovea, fovea.torch
traced = torch.jit.load(sys.argv[1])
q = torch.ones(1, 2, 6, 8)
try:
    traced(q)
except RuntimeError as error:
    print("make the same again" in str(error))
other = fovea.BlockMask.window(9, 9)
same = fovea.BlockMask.window(3, 0)
print(torch.equal(traced(q), fovea.attention(q, q, q, blocks=same)))
"""


def test_a_saved_trace_finds_its_pattern_in_another_process(tmp_path):
    """By what the pattern is made of; never another that happens to be there."""
    blocks = fovea.BlockMask.window(3, 0)
    torch.jit.save(torch.jit.trace(lambda q: fovea.attention(q, q, q, blocks=blocks), (fresh(),)), str(tmp_path / "saved.pt"))
    done = subprocess.run([sys.executable, "-c", LOADED, str(tmp_path / "saved.pt")], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_equal_objects_share_a_number_that_outlives_each_of_them():
    from fovea._numbered import lookup

    first, second = fovea.BlockMask.window(5, 2), fovea.BlockMask.window(5, 2)
    number = first._number
    assert second._number == number != fovea.BlockMask.window(5, 3)._number
    del first
    assert lookup(number) is second
    del second
    with pytest.raises(ValueError, match="make the same again"):
        lookup(number)
    patterns = [fovea.BlockMask.from_function(lambda i, j, n=n: i - j <= n) for n in range(2)]
    assert patterns[0]._number != patterns[1]._number  # functions of one name are not one function
