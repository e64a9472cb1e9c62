"""torch.nn.MultiheadAttention, by Fovea's engine."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fovea._attention import attention


class MultiheadAttention(nn.MultiheadAttention):
    """As :class:`torch.nn.MultiheadAttention`: the same arguments, parameters and state dict.

    Differences: a query whose keys are all masked gives the projection of 0, where PyTorch gives NaN; the weights
    returned by `need_weights` are those before dropout and carry no gradient. `need_weights` is on by default as in
    PyTorch; the weights are then computed as exact rows after the output, and take L·S memory: switch it off where
    they are not used.

    Examples
    --------
    >>> import torch, fovea.torch
    >>> theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    >>> ours = fovea.torch.MultiheadAttention(32, 4, batch_first=True)
    >>> ours.load_state_dict(theirs.state_dict())
    <All keys matched successfully>
    >>> x = torch.randn(2, 10, 32)
    >>> torch.allclose(ours(x, x, x)[0], theirs(x, x, x)[0], atol=1e-5)
    True
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Optional[Tensor] = None,
        need_weights: bool = True,
        attn_mask: Optional[Tensor] = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        if query.dim() != 3 or key.dim() != 3 or value.dim() != 3 or query.shape[-1] != self.embed_dim:
            raise AssertionError(
                f"expected query, key and value as [L, N, E] or [L, E] with E = {self.embed_dim}, got "
                f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
            )
        q, k, v = self._project(query, key, value)
        mask, bias = self._masks(attn_mask, key_padding_mask, q, key.shape[1], k.shape[2])
        dropout = self.dropout if self.training else 0.0
        seed: Any = torch.randint(0, 2**62, (1,)) if dropout > 0 else 0
        results = attention(
            q,
            k,
            v,
            mask=mask,
            bias=bias,
            dropout=dropout,
            seed=seed,
            observe=[] if need_weights else None,
        )
        out = results[0] if need_weights else results
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        weights = None
        if need_weights:
            weights = results[1].rows(range(q.shape[2]))
            weights = weights.mean(dim=1) if average_attn_weights else weights
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The heads [N, H, L, D], with what bias_k, bias_v and add_zero_attn append to the keys."""
        size = self.embed_dim
        if self._qkv_same_embed_dim:
            weights = self.in_proj_weight.split(size)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.split(size)
        if query is key and key is value and self._qkv_same_embed_dim:
            projected = functional.linear(query, self.in_proj_weight, self.in_proj_bias).split(size, dim=-1)
        else:
            projected = [functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]
        q, k, v = projected
        count = k.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.reshape(1, 1, size).expand(count, 1, size)], dim=1)
            v = torch.cat([v, self.bias_v.reshape(1, 1, size).expand(count, 1, size)], dim=1)
        if self.add_zero_attn:
            k, v = (torch.cat([x, x.new_zeros(count, 1, size)], dim=1) for x in (k, v))
        return tuple(x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))

    def _masks(
        self, attn_mask: Optional[Tensor], padding: Optional[Tensor], q: Tensor, given: int, keys: int
    ) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """PyTorch's masks (True hides, or floating) as a mask (True attends) and a bias; appended keys are seen."""
        batch, heads, length, _ = q.shape
        mask = bias = None
        of_pairs: Dict[Tuple[int, ...], Tuple[int, ...]] = {
            (length, given): (1, 1, length, given),
            (batch * heads, length, given): (batch, heads, length, given),
        }
        of_keys: Dict[Tuple[int, ...], Tuple[int, ...]] = {(batch, given): (batch, 1, 1, given)}
        for x, shapes in ((attn_mask, of_pairs), (padding, of_keys)):
            if x is None:
                continue
            if tuple(x.shape) not in shapes:
                name = "attn_mask" if x is attn_mask else "key_padding_mask"
                raise RuntimeError(f"expected {name} of shape {' or '.join(map(str, shapes))}, got {tuple(x.shape)}")
            x = x.reshape(shapes[tuple(x.shape)])
            if x.dtype == torch.bool:
                x = functional.pad(~x, (0, keys - given), value=True)
                mask = x if mask is None else mask & x
            else:
                x = functional.pad(x.to(q.dtype), (0, keys - given))
                bias = x if bias is None else bias + x
        return mask, bias
