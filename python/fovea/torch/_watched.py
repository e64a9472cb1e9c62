"""Who watches a call of PyTorch tensors, and must see an operator instead of what the engine answers."""

from __future__ import annotations

import warnings
from functools import partial, wraps
from typing import Any, Callable, List, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from fovea import _options as options
from fovea._insight import OBSERVERS, ROWS, Insight, TopK
from fovea._kinds import fail, from_numpy, to_numpy

F = TypeVar("F", bound=Callable[..., Any])

# The order of what the operator gives after out and lse, as far as it was asked for; what is saved for backward is last.
SEEN = (*(name for name in ROWS), "key_mass", "top_k_indices", "top_k_weights", "block_mass")
OBSERVER_OF = {x: name for name, found in OBSERVERS.items() for x in found} | {
    "top_k_indices": "top_k",
    "top_k_weights": "top_k",
}


def watched(*tensors: Tensor) -> bool:
    """Whether a tracer, the compiler or a mode records the call, or a subclass or the meta device gives no values."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or any(x.is_meta for x in tensors)
        or any(type(x) not in (Tensor, torch.nn.Parameter) for x in tensors)
    )


def needed(q: Tensor, k: Tensor, v: Tensor, arrays: dict[str, Any]) -> bool:
    """Whether somebody watches this call, or autograd does; else it goes to the engine directly."""
    if watched(q, k, v):
        return True
    given = [q, k, v, *(arrays[name] for name in options.DIFFERENTIABLE if name in arrays)]
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in given)


def check_transforms(*tensors: Tensor) -> None:
    """Refuses what could not follow the call into the engine, and would lose derivatives without a word."""
    if torch.compiler.is_compiling():
        return
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError("[attention] expected a call outside of torch.func's transforms; use torch.autograd")
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise RuntimeError("[attention] expected tensors without forward-mode tangents; use backward")


def quiet_while_traced(function: F) -> F:
    """torch.jit.trace warns of each comparison of shapes. Those in `function` choose between forms that the operator
    checks again when it runs: what does not fit is refused there, so that the warning would mislead."""

    @wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is None:
            return function(*arguments, **keywords)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            return function(*arguments, **keywords)

    return called  # type: ignore[return-value]


@quiet_while_traced
def scale_of_heads(scale: Any, q: Tensor) -> Any:
    """One scale as one for each head, where it is a tensor that is trained, or that a record must not make a constant."""
    if isinstance(scale, Tensor) and scale.numel() == 1 and q.dim() > 1 and (scale.requires_grad or watched(scale)):
        return scale.reshape(1).expand(q.shape[1])
    return scale


def names_of(wished: options.Observe) -> List[str]:
    return [name for name in SEEN if OBSERVER_OF[name] in wished]


class WatchedInsight(Insight):
    """What a call saw that was recorded as an operator: the operator's own results, so that the record goes on from
    them. What is computed on demand needs values, and makes the call behind when it is asked for."""

    def __init__(self, make: Callable[[], Any], tiles: Any, wished: options.Observe, results: List[Tensor]):
        self._make = make
        self._wrap = partial(from_numpy, kind="torch")
        self._made: Any = None
        names = names_of(wished)
        self._results = {"lse": results[1], **{name: x.detach() for name, x in zip(names, results[2:])}}
        found = dict(self._results)
        self.lse = found.pop("lse")
        if "top_k_indices" in found:
            found["top_k"] = TopK(found.pop("top_k_indices"), found.pop("top_k_weights"))
        if "block_mass" in found:
            found["block_mass"] = tiles(found["block_mass"])
        self._shown = found

    @property
    def _call(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def _raw(self) -> dict[str, np.ndarray]:  # type: ignore[override]
        raw = {}
        for name, x in self._results.items():
            found = to_numpy(x, name)
            if name != "block_mass":
                found = self._call.rows_first_undone(found)
            elif found.ndim == 4:
                found = found.transpose(0, 2, 3, 1).reshape(-1, found.shape[1])
            raw[name] = np.ascontiguousarray(found)
        return raw

    rows = torch.compiler.disable(Insight.rows)
    sampled_key_mass = torch.compiler.disable(Insight.sampled_key_mass)
    plot = torch.compiler.disable(Insight.plot)
