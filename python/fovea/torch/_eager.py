"""A call on tensors: at once, or as an operator where somebody watches."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

import torch
from torch import Tensor

from fovea import _options as options
from fovea._call import Call
from fovea._insight import Insight
from fovea._kinds import from_numpy, to_numpy
from fovea._numbered import lookup
from fovea.torch._ops import attention_op, backward_op
from fovea.torch._tensors import as_tensor, make_call
from fovea.torch._watched import WatchedInsight, watched


def attention(q: Tensor, k: Tensor, v: Tensor, given: options.Options, arrays: dict[str, Any], wishes: Any) -> Any:
    tensors = {name: as_tensor(name, x) for name, x in arrays.items()}
    wished = options.Observe() if wishes is None else wishes
    if not watched(q, k, v):
        made: list[Any] = []  # the call, and what it saw
        out, lse = EagerAttention.apply(made, given, wished, tuple(tensors), q, k, v, *tensors.values())
        if wishes is None:
            return out
        seen: Insight[Tensor] = Insight(made[0], made[1], partial(from_numpy, kind="torch"))
        seen.lse = lse  # with its gradient
        return out, seen
    results = attention_op(
        q,
        k,
        v,
        *(tensors.get(name) for name in options.ARRAYS),
        *vars(given).values(),
        "|".join(wished.names),
    )
    if wishes is None:
        return results[0]
    again = Recorded(q, k, v, given, tensors)
    return results[0], WatchedInsight(again, again.tiles, wished, results)


def vjp(q: Tensor, k: Tensor, v: Tensor, dout: Tensor, given: options.Options, arrays: dict[str, Any],
        dlse: Optional[Tensor] = None) -> dict[str, Tensor]:  # fmt: skip
    """The gradients by name, as operators compute them."""
    tensors = {name: as_tensor(name, x).detach() for name, x in arrays.items()}
    q, k, v, dout = (x.detach() for x in (q, k, v, dout))
    inputs = (q, k, v, *(tensors.get(name) for name in options.ARRAYS))
    out, *_, saved = attention_op(*inputs, *vars(given).values(), "")
    wanted = [name for name in options.DIFFERENTIABLE if name in tensors]
    results = backward_op(dout, *inputs, out, saved, dlse, *vars(given).values(), "|".join(wanted))
    return dict(zip(["dq", "dk", "dv", *("d" + name for name in wanted)], results))


class EagerAttention(torch.autograd.Function):
    """The call without an operator's dispatch, which costs 0.2 ms: more than attention of a small model."""

    @staticmethod
    def forward(ctx, made, given, wished, names, q, k, v, *tensors):
        call = make_call(q, k, v, given, dict(zip(names, tensors)))
        out, seen = call.forward(wished)
        made += (call, seen)
        result = from_numpy(out, "torch", call.dtype)
        ctx.save_for_backward(q, k, v, result, *tensors)
        ctx.call, ctx.saved, ctx.names, ctx.given = call, seen["saved"], names, given
        ctx.set_materialize_grads(False)
        ctx.objects = [lookup(number) for number in (given.blocks, given.rotary, given.override)]
        return result, from_numpy(call.rows_first(seen["lse"]), "torch")

    @staticmethod
    def backward(ctx, dout, dlse):
        q, k, v, out, *tensors = ctx.saved_tensors  # also sees that none was changed in place
        dout = torch.zeros_like(out) if dout is None else dout
        call, named = ctx.call, dict(zip(ctx.names, tensors))
        needed = ctx.needs_input_grad[-len(named) :] if named else ()
        wanted = [name for name, need in zip(named, needed) if need and name in options.DIFFERENTIABLE]
        if torch.is_grad_enabled():  # create_graph: the operator knows that there is no second gradient
            saved = from_numpy(call.rows_first(ctx.saved), "torch")
            arrays = (named.get(name) for name in options.ARRAYS)
            results = backward_op(dout, q, k, v, *arrays, out, saved, dlse, *vars(ctx.given).values(), "|".join(wanted))
            found = dict(zip(wanted, results[3:]))
            return None, None, None, None, *results[:3], *(found.get(name) for name in ctx.names)
        rows = None if dlse is None else to_numpy(dlse, "dlse")
        gradients = call.backward(to_numpy(out, "out"), ctx.saved, to_numpy(dout, "dout"), wanted, rows)
        results = [from_numpy(gradients[name], "torch", call.dtype) for name in ("dq", "dk", "dv")]
        for name, x in named.items():
            results.append(from_numpy(gradients["d" + name], "torch").to(x.dtype) if name in wanted else None)
        return None, None, None, None, *results


class Recorded:
    """Makes the call behind an operator again, when what is computed on demand is asked for."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, given: options.Options, tensors: dict[str, Tensor]):
        self.tensors = (q, k, v, tensors)
        self.given = given
        self.objects = [lookup(number) for number in (given.blocks, given.rotary, given.override)]

    def __call__(self) -> Call:
        q, k, v, tensors = self.tensors
        return make_call(q.detach(), k.detach(), v.detach(), self.given, {n: x.detach() for n, x in tensors.items()})

    def tiles(self, x: Tensor) -> Any:
        """Block masses [B, H, rows, columns], packed a list of [H, rows, columns]."""
        return x if x.dim() == 4 else [torch.from_numpy(m) for m in self().block_maps(to_numpy(x, "block_mass"))]
