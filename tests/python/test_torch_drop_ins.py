"""fovea.torch against what it stands in for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the drop-ins are not compared with it")
from torch.nn.functional import scaled_dot_product_attention as theirs  # noqa: E402

import fovea  # noqa: E402
from fovea.torch import scaled_dot_product_attention as ours  # noqa: E402


def assert_near(got, expected, atol=2e-5):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def normal(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32)).requires_grad_()


@pytest.mark.parametrize("seed", range(60))
def test_sdpa_equals_pytorchs(seed):
    rng = np.random.default_rng(seed)
    lead = [(), (3,), (2, 3), (2, 2, 3)][rng.integers(4)]
    length, keys = (int(x) for x in rng.choice([1, 4, 17, 40], size=2))
    width, value = (int(x) for x in rng.choice([8, 16], size=2))
    gqa = len(lead) >= 2 and bool(rng.integers(2))
    kv_lead = (*lead[:-1], 1) if gqa else lead
    q, k, v = normal(1, *lead, length, width), normal(2, *kv_lead, keys, width), normal(3, *kv_lead, keys, value)
    keywords = dict(enable_gqa=gqa, scale=None if rng.random() < 0.5 else 0.3)
    choice = rng.integers(4)
    if choice == 1:
        keywords["is_causal"] = True
    elif choice == 2:
        keywords["attn_mask"] = torch.from_numpy(rng.random((length, keys)) < 0.8)
        keywords["attn_mask"][:, 0] = True
    elif choice == 3:
        shape = (*lead, length, keys) if rng.random() < 0.5 else (1, keys)
        keywords["attn_mask"] = normal(4, *shape)
    out, expected = ours(q, k, v, **keywords), theirs(q, k, v, **keywords)
    assert_near(out, expected)
    inputs = [q, k, v] + ([keywords["attn_mask"]] if choice == 3 else [])
    dout = torch.from_numpy(rng.normal(size=out.shape)).float()
    for got, want in zip(torch.autograd.grad(out, inputs, dout), torch.autograd.grad(expected, inputs, dout)):
        assert_near(got, want, atol=1e-4)


def test_sdpas_causality_is_aligned_to_the_first_key_as_pytorchs():
    for length, keys in ((3, 7), (7, 3), (1, 5), (5, 1)):
        q, k = normal(1, 1, 1, length, 4), normal(2, 1, 1, keys, 4)
        assert_near(ours(q, k, k, is_causal=True), theirs(q, k, k, is_causal=True))


def test_sdpas_mask_and_causality_hold_together():
    mask = torch.from_numpy(np.random.default_rng(0).random((5, 7)) < 0.6)
    mask[:, 0] = True
    q, k = normal(1, 1, 2, 5, 4), normal(2, 1, 2, 7, 4)
    both = mask & torch.ones(5, 7, dtype=torch.bool).tril()
    assert_near(ours(q, k, k, attn_mask=mask, is_causal=True), theirs(q, k, k, attn_mask=both))


def test_sdpas_dropout_follows_pytorchs_seed():
    q, v = torch.zeros(1, 1, 64, 8), torch.ones(1, 1, 300, 8)
    k = torch.zeros(1, 1, 300, 8)
    torch.manual_seed(1)
    one, two = ours(q, k, v, dropout_p=0.5), ours(q, k, v, dropout_p=0.5)
    torch.manual_seed(1)
    assert torch.equal(one, ours(q, k, v, dropout_p=0.5)) and not torch.equal(one, two)
    assert abs(one.mean().item() - 1) < 5 / np.sqrt(300 * 64)
    compiled = torch.compile(lambda q, k, v: ours(q, k, v, dropout_p=0.5), fullgraph=True, backend="aot_eager")
    q.requires_grad_()
    a, b = compiled(q, k, v), compiled(q, k, v)
    assert not torch.equal(a, b)
    torch.autograd.grad(a.sum(), q)


def test_sdpa_refuses_what_pytorch_refuses():
    q = torch.ones(2, 4, 5, 8)
    calls = [
        ((q, q[:1, :, :, :4], q), {}),
        ((q, q[:, :3], q[:, :3]), {}),
        ((q, q[:, :3], q[:, :3]), dict(enable_gqa=True)),
        ((q, q, q), dict(attn_mask=torch.ones(5, 4, dtype=torch.bool))),
        ((q, q.double(), q), {}),
        ((q[0, 0, 0], q[0, 0, 0], q[0, 0, 0]), {}),
    ]
    for arguments, keywords in calls:
        with pytest.raises((RuntimeError, ValueError)):
            theirs(*arguments, **keywords)
        with pytest.raises(RuntimeError, match="scaled_dot_product_attention: .*expected"):
            ours(*arguments, **keywords)
    with pytest.raises(RuntimeError, match="expected k and v of equal length"):
        ours(q, q, q[:, :, :3])
    with pytest.raises(TypeError, match="argument 'key' must be Tensor"):
        ours(q, None, q)


def modules(**keywords):
    torch.manual_seed(0)
    reference = torch.nn.MultiheadAttention(32, 4, **keywords)
    module = fovea.torch.MultiheadAttention(32, 4, **keywords)
    module.load_state_dict(reference.state_dict())
    return reference, module


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        dict(batch_first=True),
        dict(bias=False),
        dict(kdim=16, vdim=24),
        dict(add_bias_kv=True, batch_first=True),
        dict(add_zero_attn=True),
        dict(add_bias_kv=True, add_zero_attn=True),
    ],
)
@pytest.mark.parametrize("masked", ["none", "padding", "bool", "float", "heads", "both"])
def test_multihead_attention_equals_pytorchs(keywords, masked):
    reference, module = modules(**keywords)
    batch_first = keywords.get("batch_first", False)
    length, keys, batch = 7, 9, 3
    query = normal(1, batch, length, 32)
    key, value = normal(2, batch, keys, keywords.get("kdim", 32)), normal(3, batch, keys, keywords.get("vdim", 32))
    given = [x if batch_first else x.transpose(0, 1) for x in (query, key, value)]
    masks = {}
    rng = np.random.default_rng(4)
    if masked in ("padding", "both"):
        padding = torch.zeros(batch, keys, dtype=torch.bool)
        padding[1, 6:] = True
        masks["key_padding_mask"] = padding if masked == "padding" else padding.float() * -3
    if masked in ("bool", "both"):
        hidden = torch.from_numpy(rng.random((length, keys)) < 0.4)
        hidden[:, 0] = False
        masks["attn_mask"] = hidden if masked == "bool" else hidden.float() * -2
    if masked == "float":
        masks["attn_mask"] = normal(5, length, keys).detach()
    if masked == "heads":
        masks["attn_mask"] = normal(5, batch * 4, length, keys).detach()
    for average in (True, False):
        out, weights = module(*given, average_attn_weights=average, **masks)
        expected, expected_weights = reference(*given, average_attn_weights=average, **masks)
        assert_near(out, expected)
        assert_near(weights, expected_weights.detach())
    out, weights = module(*given, need_weights=False, **masks)
    assert weights is None
    assert_near(out, expected)
    dout = torch.ones_like(out)
    for ours_, theirs_ in zip(
        torch.autograd.grad(out, [query, *module.parameters()], dout),
        torch.autograd.grad(expected, [query, *reference.parameters()], dout),
    ):
        assert_near(ours_, theirs_, atol=5e-4)


def test_multihead_attention_of_one_sequence_and_inside_a_transformer():
    reference, module = modules()
    x = normal(1, 5, 32)
    for got, want in zip(module(x, x, x), reference(x, x, x)):
        assert_near(got, want.detach() if want is not None else None)
    layer = torch.nn.TransformerEncoderLayer(32, 4, dropout=0.0, batch_first=True)
    source = normal(2, 3, 6, 32)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(6)
    expected = layer(source, src_mask=causal, is_causal=True)
    replacement = fovea.torch.MultiheadAttention(32, 4, batch_first=True)
    replacement.load_state_dict(layer.self_attn.state_dict())
    layer.self_attn = replacement
    assert_near(layer(source, src_mask=causal, is_causal=True), expected)


def test_multihead_attention_drops_out_only_in_training():
    _, module = modules(dropout=0.5, batch_first=True)
    x = normal(1, 2, 20, 32)
    module.train()
    torch.manual_seed(3)
    one, two = module(x, x, x)[0], module(x, x, x)[0]
    torch.manual_seed(3)
    assert torch.equal(one, module(x, x, x)[0]) and not torch.equal(one, two)
    module.eval()
    assert torch.equal(module(x, x, x)[0], module(x, x, x)[0])


def test_multihead_attention_says_what_does_not_fit():
    _, module = modules(batch_first=True)
    x = torch.ones(2, 5, 32)
    with pytest.raises(RuntimeError, match=r"expected attn_mask of shape \(5, 5\) or \(8, 5, 5\), got \(5, 4\)"):
        module(x, x, x, attn_mask=torch.zeros(5, 4))
    with pytest.raises(RuntimeError, match="key_padding_mask"):
        module(x, x, x, key_padding_mask=torch.zeros(5, 2))
    with pytest.raises(AssertionError, match="E = 32"):
        module(x[..., :8], x, x)


def test_sdpa_broadcasts_heads_and_repeats_groups_as_pytorchs():
    def check(q, k, v, **keywords):
        tensors = [normal(n, *shape, 8) for n, shape in enumerate((q, k, v))]
        out, expected = ours(*tensors, **keywords), theirs(*tensors, **keywords)
        assert_near(out, expected)
        for got, want in zip(torch.autograd.grad(out.sum(), tensors), torch.autograd.grad(expected.sum(), tensors)):
            assert_near(got, want, atol=1e-4)

    check((1, 5), (2, 6), (2, 6))
    check((2, 1, 5), (2, 3, 6), (2, 3, 6))
    check((2, 3, 5), (2, 1, 6), (2, 1, 6))
    check((2, 3, 5), (2, 1, 6), (2, 3, 6))
    check((1, 3, 5), (2, 3, 6), (1, 1, 6))
    check((2, 4, 5), (2, 2, 6), (2, 1, 6), enable_gqa=True)


def test_sdpa_refuses_masks_of_integers_which_would_be_added_to_the_scores():
    q = torch.ones(1, 2, 5, 8)
    for dtype in (torch.uint8, torch.int64, torch.float64, torch.bfloat16):
        with pytest.raises(RuntimeError):
            theirs(q, q, q, attn_mask=torch.ones(5, 5, dtype=dtype))
        with pytest.raises(RuntimeError, match=f"expected attn_mask as booleans, .* got {dtype}"):
            ours(q, q, q, attn_mask=torch.ones(5, 5, dtype=dtype))
    half = q.bfloat16()
    ours(half, half, half, attn_mask=torch.zeros(5, 5)), ours(half, half, half, attn_mask=torch.zeros(5, 5).bfloat16())
    for wrong in (1, "yes", None):
        with pytest.raises(TypeError, match="'is_causal' must be bool"):
            ours(q, q, q, is_causal=wrong)


def test_sdpa_drops_everything_and_follows_autocast():
    q = normal(1, 1, 2, 5, 8)
    out = ours(q, q, q, dropout_p=1.0)
    assert torch.equal(out, torch.zeros_like(out)) and torch.equal(torch.autograd.grad(out.sum(), q)[0], torch.zeros_like(q))
    half = q.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for given in ((q, q, q), (q, half, half), (half, half, q)):
            got, want = ours(*given), theirs(*given)
            assert got.dtype == want.dtype == torch.bfloat16
            assert_near(got.float(), want.float(), atol=0.03)  # weights are rounded to bf16 at other places
        double = q.double()
        assert ours(double, double, double).dtype == torch.float64


def test_shapes_alone_are_enough_for_the_meta_device_and_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    meta = torch.ones(2, 4, 5, 8, device="meta")
    assert ours(meta, meta, meta).shape == (2, 4, 5, 8) and ours(meta, meta, meta).is_meta
    with FakeTensorMode():
        fake = torch.ones(2, 4, 5, 8)
        assert ours(fake, fake, fake[..., :3]).shape == (2, 4, 5, 3)


def test_derivatives_that_cannot_follow_are_refused():
    from torch.autograd import forward_ad

    q = torch.ones(2, 1, 5, 8)
    for transform in (torch.func.grad(lambda x: ours(x, x, x).sum()), torch.func.vmap(lambda x: ours(x, x, x))):
        with pytest.raises(RuntimeError, match="outside of torch.func's transforms"):
            transform(q)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="without forward-mode tangents"):
        ours(forward_ad.make_dual(q, q), q, q)


@pytest.mark.parametrize("average", [True, False])
def test_multihead_attentions_weights_have_pytorchs_gradient(average):
    reference, module = modules(batch_first=True)
    x = normal(1, 2, 6, 32)
    hidden = torch.zeros(6, 6, dtype=torch.bool).fill_diagonal_(True)
    grads = []
    for m in (reference, module):
        _, weights = m(x, x, x, attn_mask=hidden, average_attn_weights=average)
        grads.append(torch.autograd.grad(weights.square().sum(), [x, m.in_proj_weight]))
    for want, got in zip(*grads):
        assert_near(got, want)
    hidden[2] = True  # a query that sees nothing: NaN there, 0 here, and no NaN in the gradient
    out, weights = module(x, x, x, attn_mask=hidden, average_attn_weights=average)
    assert (weights[..., 2, :] == 0).all()
    assert torch.autograd.grad(out.sum() + weights.square().sum(), x)[0].isfinite().all()


def test_multihead_attention_refuses_masks_of_integers_and_lengths_that_differ():
    _, module = modules(batch_first=True)
    x = torch.ones(2, 5, 32)
    for name, mask in (("attn_mask", torch.ones(5, 5)), ("key_padding_mask", torch.ones(2, 5))):
        with pytest.raises(AssertionError, match=f"expected {name} as booleans .* or floating, got torch.uint8"):
            module(x, x, x, **{name: mask.to(torch.uint8)})
    for key, value in ((x[:1], x[:1]), (x, x[:, :3])):
        with pytest.raises(AssertionError, match="of equal N, and key and value of equal L"):
            module(x, key, value)


class Counted(fovea.torch.MultiheadAttention):
    calls = 0

    def forward(self, *arguments, **keywords):
        Counted.calls += 1
        return super().forward(*arguments, **keywords)


@pytest.mark.filterwarnings("ignore:.*nested:UserWarning")
def test_transformer_encoders_call_it_in_inference_too_and_nest_their_sequences():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2).eval()
    x, padding = normal(1, 3, 7, 32), torch.zeros(3, 7, dtype=torch.bool)
    padding[0, 4:] = padding[2, 6:] = True
    with torch.no_grad():
        expected, expected_padded = encoder(x), encoder(x, src_key_padding_mask=padding)
        for each in encoder.layers:
            replacement = Counted(32, 4, batch_first=True)
            replacement.load_state_dict(each.self_attn.state_dict())
            each.self_attn = replacement.eval()
        Counted.calls = 0
        assert_near(encoder(x), expected)
        assert Counted.calls == 2
        assert_near(encoder(x, src_key_padding_mask=padding)[~padding], expected_padded[~padding])
        assert Counted.calls == 4


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:.*nested:UserWarning")
def test_multihead_attention_takes_nested_tensors(layout):
    _, module = modules(batch_first=True)
    ones, others = ([normal(n, length, 32) for n, length in enumerate(lengths)] for lengths in ((3, 7, 1), (2, 5, 6)))
    x, y = (torch.nested.as_nested_tensor(list(rows), layout=layout) for rows in (ones, others))
    own, cross = module(x, x, x, need_weights=False)[0], module(x, y, y, need_weights=False)[0]
    for i, (a, b) in enumerate(zip(ones, others)):
        assert_near(own.unbind()[i], module(a, a, a)[0])
        assert_near(cross.unbind()[i], module(a, b, b)[0])
    grads = torch.autograd.grad(sum(row.square().sum() for row in own.unbind()), ones)
    for row, got in zip(ones, grads):
        assert_near(got, torch.autograd.grad(module(row, row, row)[0].square().sum(), row)[0], atol=1e-4)
    for wrong in ((x, x, x[0] if layout == torch.strided else ones[0]), (x, x, y)):
        with pytest.raises(AssertionError, match="expected"):
            module(*wrong, need_weights=False)
    with pytest.raises(AssertionError, match="need_weights=False"):
        module(x, x, x)
