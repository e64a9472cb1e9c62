"""torch.nn.functional.scaled_dot_product_attention, by Fovea's engine."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor

from fovea._attention import attend
from fovea._kinds import recorded, stands_for_arrays
from fovea.torch._watched import quiet_while_traced


@torch.jit.ignore
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
) -> Tensor:
    """As :func:`torch.nn.functional.scaled_dot_product_attention`, argument for argument.

    Differences: a query whose keys are all masked gives 0, where PyTorch gives 0 or NaN by its choice of kernel; the
    weights that dropout drops are others for the same seed. `is_causal` is aligned to the first query and the first
    key, as in PyTorch (:func:`fovea.attention` aligns to the last ones).

    Parameters
    ----------
    query, key, value : ``[N, …, H, L, E]``, ``[N, …, H, S, E]``, ``[N, …, H, S, Ev]``
        On the CPU, all of one type out of float32, float64, bfloat16 and float16; E and Ev up to 1,024. Under
        torch.autocast the call computes and answers in autocast's type, as PyTorch's does.
    attn_mask : bool (True attends) or floating (added to the scores), broadcastable to ``[N, …, H, L, S]``
        Together with `is_causal`, both hold.
    dropout_p : float
        Probability of dropping each weight. Drawn from PyTorch's generator: torch.manual_seed repeats it.
    is_causal : bool
        Query i sees the keys up to i.
    scale : float
        Default 1/√E.
    enable_gqa : bool
        Lets the heads of key and value be fewer and divide those of query. Heads and batches of 1 broadcast without.

    Returns
    -------
    torch.Tensor
        ``softmax(scale·query·keyᵀ + mask)·value``, ``[N, …, H, L, Ev]``, with its gradient.

    Raises
    ------
    RuntimeError
        An argument does not fit, as PyTorch's own function does.

    Examples
    --------
    >>> import torch, fovea.torch
    >>> q = torch.randn(2, 4, 10, 16, requires_grad=True)
    >>> out = fovea.torch.scaled_dot_product_attention(q, q, q, is_causal=True)
    >>> torch.allclose(out, torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True), atol=1e-5)
    True
    """
    return _attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


@quiet_while_traced
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor],
    dropout_p: float,
    is_causal: bool,
    scale: Optional[float],
    enable_gqa: bool,
) -> Tensor:
    if stands_for_arrays(query, key, value):
        rest = dict(attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)
        return recorded(scaled_dot_product_attention, query, key, value, rest)
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            raise TypeError(f"scaled_dot_product_attention(): argument '{name}' must be Tensor, not {type(x).__name__}")
    if type(is_causal) is not bool:
        raise TypeError(
            f"scaled_dot_product_attention(): argument 'is_causal' must be bool, not {type(is_causal).__name__}"
        )
    rank = query.dim()
    if rank < 2 or key.dim() != rank or value.dim() != rank:
        raise RuntimeError(f"scaled_dot_product_attention: expected one rank of at least 2, got {shapes(query, key, value)}")
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (autocast(x) for x in (query, key, value))
    query, key, value = with_equal_heads(query, key, value, enable_gqa)
    lead = query.shape[:-3]
    if not lead == key.shape[:-3] == value.shape[:-3]:  # finding what is common takes half as long as a small call
        try:
            lead = torch.broadcast_shapes(lead, key.shape[:-3], value.shape[:-3])
        except RuntimeError:
            raise RuntimeError(
                f"scaled_dot_product_attention: expected batches that broadcast, got {shapes(query, key, value)}"
            ) from None
    check_mask(attn_mask, query)
    try:
        q, k, v = (as_batch(x, lead) for x in (query, key, value))
        mask = bias = None
        if attn_mask is not None:
            given = torch.broadcast_to(attn_mask, (*lead, *attn_mask.shape[-3:])) if attn_mask.dim() > 3 else attn_mask
            given = given.flatten(0, -4) if given.dim() > 3 else given
            mask, bias = (given, None) if attn_mask.dtype == torch.bool else (None, given)
        drops = 0 < dropout_p < 1
        seed: Any = torch.randint(0, 2**62, (1,)) if drops else 0
        dropout = 0.0 if dropout_p == 1 else dropout_p
        out = attend(
            q, k, v, dict(scale=scale, from_start=is_causal, mask=mask, bias=bias, dropout=dropout, seed=seed)
        )
    except ValueError as error:
        raise RuntimeError(f"scaled_dot_product_attention: {error}") from None
    if rank != 4:
        out = out.reshape(*(lead if rank > 3 else ()), *out.shape[4 - min(rank, 3) :])
    return out * 0.0 if dropout_p == 1 else out  # every weight is dropped


def autocast(x: Tensor) -> Tensor:
    """As torch.autocast has it, which knows PyTorch's own function by name."""
    return x.to(torch.get_autocast_dtype("cpu")) if x.is_floating_point() and x.dtype != torch.float64 else x


def with_equal_heads(query: Tensor, key: Tensor, value: Tensor, gqa: bool) -> Tuple[Tensor, Tensor, Tensor]:
    """Heads as the engine takes them: those of key and value equal, and dividing those of query."""
    if query.dim() < 3:
        return query, key, value
    q, k, v = query.shape[-3], key.shape[-3], value.shape[-3]
    if k == v and (q == k or gqa):
        return query, key, value
    if gqa:
        if k < 1 or v < 1 or q % k or q % v:
            raise RuntimeError(
                "scaled_dot_product_attention: expected heads of key and value that divide the query's, got "
                f"{shapes(query, key, value)}"
            )
        return query, key.repeat_interleave(q // k, -3), value.repeat_interleave(q // v, -3)
    heads = max(q, k, v)
    if any(x not in (1, heads) for x in (q, k, v)):
        raise RuntimeError(
            f"scaled_dot_product_attention: expected equal heads (or enable_gqa=True), got {shapes(query, key, value)}"
        )
    query = query.expand(*query.shape[:-3], heads, *query.shape[-2:])
    if k != v:  # equal ones stay: one head of keys serves all queries from where it lies
        key, value = (x.expand(*x.shape[:-3], heads, *x.shape[-2:]) for x in (key, value))
    return query, key, value


def check_mask(mask: Optional[Tensor], query: Tensor) -> None:
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        raise TypeError(f"scaled_dot_product_attention(): argument 'attn_mask' must be Tensor, not {type(mask).__name__}")
    if mask.dtype not in (torch.bool, torch.float32, query.dtype):  # integers would else be added to the scores
        raise RuntimeError(
            "scaled_dot_product_attention: expected attn_mask as booleans, as float32 or of the query's type "
            f"{query.dtype}, got {mask.dtype}"
        )


def shapes(query: Tensor, key: Tensor, value: Tensor) -> str:
    return f"query {list(query.shape)}, key {list(key.shape)} and value {list(value.shape)}"


def as_batch(x: Tensor, lead: torch.Size) -> Tensor:
    """[…, H, L, E] as [B, H, L, E]."""
    if x.dim() < 4:
        return x.reshape(*([1] * (4 - x.dim())), *x.shape)
    if x.shape[:-3] != lead:
        x = x.expand(*lead, *x.shape[-3:])
    return x.flatten(0, -4)
