"""The call as PyTorch operators, fovea::attention and fovea::attention_backward, so that autograd and torch.compile
know them. Their bodies are opaque to the compiler; the fake kernels tell it shapes and strides."""

from __future__ import annotations

from typing import List, Optional

import torch
from torch import Tensor

from fovea import _options as options
from fovea._call import TILE
from fovea._fovea import top_k_places
from fovea._kinds import from_numpy, to_numpy
from fovea._numbered import lookup
from fovea.torch._tensors import arrays_of, make_call, placed
from fovea.torch._watched import names_of


def wished_of(text: str) -> options.Observe:
    return options.Observe(tuple(text.split("|")) if text else ())


def names_in(wanted: str, arrays: dict[str, Tensor]) -> List[str]:
    """Of which arrays a gradient is wanted; "*" stands for all that were given."""
    if wanted == "*":
        return [name for name in options.DIFFERENTIABLE if name in arrays]
    return wanted.split("|") if wanted else []


@torch.library.custom_op("fovea::attention", mutates_args=(), device_types="cpu")
def attention_op(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Optional[Tensor],
    alibi: Optional[Tensor],
    sinks: Optional[Tensor],
    scales: Optional[Tensor],
    relative: Optional[Tensor],
    mask: Optional[Tensor],
    q_offsets: Optional[Tensor],
    k_offsets: Optional[Tensor],
    key_sets: Optional[Tensor],
    drawn: Optional[Tensor],
    score: str,
    normalizer: str,
    scale: Optional[float],
    causal: bool,
    from_start: bool,
    left: int,
    right: int,
    softcap: float,
    top_k: int,
    dropout: float,
    seed: int,
    precision: str,
    relative_kind: str,
    relative_distance: int,
    relative_both: bool,
    blocks: int,
    rotary: int,
    override: int,
    observe: str,
) -> List[Tensor]:
    given = options.Options(
        score, normalizer, scale, causal, from_start, left, right, softcap, top_k, dropout, seed, precision, relative_kind,
        relative_distance, relative_both, blocks, rotary, override,
    )  # fmt: skip
    arrays = arrays_of(bias, alibi, sinks, scales, relative, mask, q_offsets, k_offsets, key_sets, drawn)
    call = make_call(q, k, v, given, arrays)
    wished = wished_of(observe)
    out, seen = call.forward(wished)
    results = [from_numpy(out, "torch", call.dtype), from_numpy(call.rows_first(seen["lse"]), "torch")]
    for name in names_of(wished):
        results.append(from_numpy(placed(call, name, seen[name]), "torch"))
    return [*results, from_numpy(call.rows_first(seen["saved"]), "torch")]


def _like(x, shape, dtype=None):
    """Empty, and lying in memory as x does: [B, H, L, …], or [B, L, H, …]."""
    dtype = x.dtype if dtype is None else dtype
    if x.dim() == 3 or x.stride(1) >= x.stride(2):
        return x.new_empty(shape, dtype=dtype)
    return _tokens_first(x, shape, dtype)


def _tokens_first(x, shape, dtype):
    batch, heads, length, *last = shape
    return x.new_empty((batch, length, heads, *last), dtype=dtype).transpose(1, 2)


def _tiles(q, k, q_offsets):
    """Block masses of a packed call; of several sequences only the run knows how many."""
    if q_offsets is None:
        return -(-q.shape[0] // TILE) * -(-k.shape[0] // TILE)
    return torch.library.get_ctx().new_dynamic_size()


EMPTY_PLACES = top_k_places(options.ALL_KEYS, 0)


def _places(k, q_offsets, top_k):
    """Of the lists of the strongest keys, as the engine's top_k_places counts them."""
    if top_k <= EMPTY_PLACES:
        return top_k
    if k.dim() == 4 or q_offsets is None:
        return min(top_k, k.shape[-2 if k.dim() == 4 else 0] + EMPTY_PLACES)
    return torch.library.get_ctx().new_dynamic_size()  # the longest sequence only the run knows


@attention_op.register_fake
def _(q, k, v, *rest):
    wished = wished_of(rest[-1])
    rows = q.shape[:-1]
    keys = (k.shape[0], q.shape[1], *([] if k.dim() == 3 else [k.shape[2]]))
    real = torch.float64 if q.dtype == torch.float64 else torch.float32

    def statistic(shape, dtype):
        return q.new_empty(shape, dtype=dtype) if q.dim() == 3 else _tokens_first(q, shape, dtype)

    results = [_like(q, (*rows, v.shape[-1])), statistic(rows, real)]
    for name in names_of(wished):
        if name == "block_mass":
            if q.dim() == 3:
                results.append(q.new_empty((_tiles(q, k, rest[6]), q.shape[1]), dtype=real))
            else:
                maps = (q.shape[0], -(-q.shape[2] // TILE), -(-k.shape[2] // TILE), q.shape[1])
                results.append(q.new_empty(maps, dtype=real).permute(0, 3, 1, 2))
            continue
        shape = keys if name == "key_mass" else rows
        if name.startswith("top_k"):
            shape = (*rows, _places(k, rest[6], *wished.number("top_k")))
        elif name == "set_mass":  # how many sets only the run knows
            shape = (*rows, torch.library.get_ctx().new_dynamic_size())
        results.append(statistic(shape, torch.int64 if name in ("max_key", "top_k_indices") else real))
    return [*results, statistic((*rows, 1 if real == torch.float64 else 2), real)]


@torch.library.custom_op("fovea::attention_backward", mutates_args=(), device_types="cpu")
def backward_op(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Optional[Tensor],
    alibi: Optional[Tensor],
    sinks: Optional[Tensor],
    scales: Optional[Tensor],
    relative: Optional[Tensor],
    mask: Optional[Tensor],
    q_offsets: Optional[Tensor],
    k_offsets: Optional[Tensor],
    key_sets: Optional[Tensor],
    drawn: Optional[Tensor],
    out: Tensor,
    saved: Tensor,
    dlse: Optional[Tensor],
    score: str,
    normalizer: str,
    scale: Optional[float],
    causal: bool,
    from_start: bool,
    left: int,
    right: int,
    softcap: float,
    top_k: int,
    dropout: float,
    seed: int,
    precision: str,
    relative_kind: str,
    relative_distance: int,
    relative_both: bool,
    blocks: int,
    rotary: int,
    override: int,
    wanted: str = "*",  # the default is for what torch.compile has kept on disk from before there was a choice
) -> List[Tensor]:
    given = options.Options(
        score, normalizer, scale, causal, from_start, left, right, softcap, top_k, dropout, seed, precision, relative_kind,
        relative_distance, relative_both, blocks, rotary, override,
    )  # fmt: skip
    arrays = arrays_of(bias, alibi, sinks, scales, relative, mask, q_offsets, k_offsets, key_sets, drawn)
    call = make_call(q, k, v, given, arrays)
    raw = call.rows_first_undone(to_numpy(saved, "saved"))
    names = names_in(wanted, arrays)
    rows = None if dlse is None else to_numpy(dlse, "dlse")
    gradients = call.backward(to_numpy(out, "out"), raw, to_numpy(dout, "dout"), names, rows)
    results = [from_numpy(gradients[name], "torch", call.dtype) for name in ("dq", "dk", "dv")]
    return results + [from_numpy(gradients["d" + name], "torch").to(arrays[name].dtype) for name in names]


@backward_op.register_fake
def _(dout, q, k, v, *rest):
    given = arrays_of(*rest[: len(options.ARRAYS)])
    names = names_in(rest[-1] if isinstance(rest[-1], str) else "*", given)
    return [*(_like(x, x.shape) for x in (q, k, v)), *(given[name].new_empty(given[name].shape) for name in names)]


def _keep(ctx, inputs, output):
    count = 3 + len(options.ARRAYS)
    ctx.save_for_backward(*inputs[:count], output[0], output[-1])
    ctx.set_materialize_grads(False)
    ctx.options = inputs[count:-1]
    ctx.objects = [lookup(number) for number in ctx.options[-3:]]  # blocks, rotary, override: kept until backward


def _backward(ctx, gradients):
    q, k, v, *rest = ctx.saved_tensors
    needed = zip(options.DIFFERENTIABLE, ctx.needs_input_grad[3:])
    wanted = [name for name, need in needed if need]
    dout = torch.zeros_like(rest[-2]) if gradients[0] is None else gradients[0]
    results = backward_op(dout, q, k, v, *rest, gradients[1], *ctx.options, "|".join(wanted))
    found = dict(zip(wanted, results[3:]))
    return (*results[:3], *(found.get(name) for name in options.ARRAYS), *[None] * (len(ctx.options) + 1))


attention_op.register_autograd(_backward, setup_context=_keep)


def _no_second(ctx, *gradients):
    raise RuntimeError(
        "[attention] the gradient of attention's gradient is not there: call backward without create_graph, or "
        "compute these rows with torch.nn.functional.scaled_dot_product_attention's math backend"
    )


backward_op.register_autograd(_no_second, setup_context=lambda ctx, inputs, output: None)
