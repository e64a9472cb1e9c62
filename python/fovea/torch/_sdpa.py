"""torch.nn.functional.scaled_dot_product_attention, by Fovea's engine."""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor

from fovea._attention import attention


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
    attn_mask : bool (True attends) or floating (added to the scores), broadcastable to ``[N, …, H, L, S]``
        Together with `is_causal`, both hold.
    dropout_p : float
        Drawn from PyTorch's generator: torch.manual_seed repeats it.
    enable_gqa : bool
        Lets the heads of key and value be fewer and divide those of query.

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
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            raise TypeError(f"scaled_dot_product_attention(): argument '{name}' must be Tensor, not {type(x).__name__}")
    rank = query.dim()
    if rank < 2 or key.dim() != rank or value.dim() != rank:
        raise RuntimeError(
            "scaled_dot_product_attention: expected query, key and value of one rank of at least 2, got "
            f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
        )
    if rank >= 3 and not enable_gqa and not query.shape[-3] == key.shape[-3] == value.shape[-3]:
        if rank >= 4 or 1 not in (query.shape[-3], key.shape[-3], value.shape[-3]):
            raise RuntimeError(
                "scaled_dot_product_attention: expected equal heads (or enable_gqa=True), got "
                f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
            )
    length, keys = query.shape[-2], key.shape[-2]
    try:
        lead = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
        q, k, v = (as_batch(x, lead) for x in (query, key, value))
        window = (-1, length - keys) if is_causal and length > keys else None
        if is_causal and length < keys:  # aligned to the start, the last keys are seen by nobody
            k, v = k[:, :, :length], v[:, :, :length]
            if attn_mask is not None and attn_mask.shape[-1] == keys:
                attn_mask = attn_mask[..., :length]
        mask = bias = None
        if attn_mask is not None:
            given = torch.broadcast_to(attn_mask, (*lead, *attn_mask.shape[-3:])) if attn_mask.dim() > 3 else attn_mask
            given = given.reshape(-1, *given.shape[-3:]) if given.dim() > 3 else given
            mask, bias = (given, None) if attn_mask.dtype == torch.bool else (None, given)
        seed: Any = torch.randint(0, 2**62, (1,)) if dropout_p > 0 else 0
        out = attention(
            q,
            k,
            v,
            scale=scale,
            causal=is_causal and length <= keys,
            window=window,
            mask=mask,
            bias=bias,
            dropout=dropout_p,
            seed=seed,
        )
    except ValueError as error:
        raise RuntimeError(f"scaled_dot_product_attention: {error}") from None
    return out.reshape(*(lead if rank > 3 else ()), *out.shape[4 - min(rank, 3) :])


def as_batch(x: Tensor, lead: torch.Size) -> Tensor:
    """[…, H, L, E] as [B, H, L, E]."""
    if x.dim() < 4:
        return x.reshape(*([1] * (4 - x.dim())), *x.shape)
    if x.shape[:-3] != lead:
        x = x.expand(*lead, *x.shape[-3:])
    return x if x.dim() == 4 else x.reshape(-1, *x.shape[-3:])
