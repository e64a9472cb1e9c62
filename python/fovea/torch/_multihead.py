"""torch.nn.MultiheadAttention, by Fovea's engine."""

from __future__ import annotations

import math
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fovea._attention import attention
from fovea.torch._watched import quiet_while_traced


def _called(module: nn.Module, arguments: Any) -> None:
    """A hook that does nothing, so that nn.TransformerEncoderLayer calls the module: without one, its path for
    inference takes the parameters and calls PyTorch's own attention."""


class MultiheadAttention(nn.MultiheadAttention):
    """As :class:`torch.nn.MultiheadAttention`: the same arguments, parameters and state dict.

    Differences: a query whose keys are all masked gives the projection of 0, where PyTorch gives NaN; the weights
    returned by `need_weights` are those before dropout. `need_weights` is on by default as in PyTorch; the weights are
    then computed by PyTorch beside the output, and take L·S memory: switch it off where they are not used.

    Nested tensors are taken without padding them, in training too, with ``need_weights=False``.

    Parameters
    ----------
    embed_dim, num_heads : int
        E and H; H divides E.
    dropout : float
        Probability of dropping each weight in training.
    bias, add_bias_kv, add_zero_attn : bool
        Whether projections have biases; whether a learnt key and value, or a key and value of 0, are appended.
    kdim, vdim : int
        Widths of key and value; default E.
    batch_first : bool
        ``[N, L, E]`` instead of ``[L, N, E]``, PyTorch's default.
    device, dtype
        Of the parameters: the CPU, and a floating type.

    Raises
    ------
    AssertionError, RuntimeError
        What does not fit, of the class that PyTorch's layer raises.

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

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: Optional[int] = None,
        vdim: Optional[int] = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Optional[torch.dtype] = None,
    ):
        super().__init__(
            embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first, device, dtype
        )
        self.register_forward_pre_hook(_called)

    def __prepare_scriptable__(self) -> nn.Module:
        raise RuntimeError(
            "[MultiheadAttention] expected torch.jit.trace, torch.export or torch.compile, got torch.jit.script, which "
            "compiles Python's text and no operators of other libraries"
        )

    @quiet_while_traced
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
        """The layer's output, and its weights where they are wanted; L queries and S keys of N sequences.

        Parameters
        ----------
        query, key, value : ``[L, N, E]``, ``[S, N, kdim]``, ``[S, N, vdim]``
            With `batch_first` N comes first; without a batch ``[L, E]`` and so on; or nested.
        key_padding_mask : ``[N, S]``
            True hides a key, PyTorch's way; floating is added to the scores.
        need_weights : bool
            Gives the weights too; costs L·S memory.
        attn_mask : ``[L, S]`` or ``[N·H, L, S]``
            True hides, floating is added.
        average_attn_weights : bool
            Weights ``[N, L, S]``, the mean over heads, instead of ``[N, H, L, S]``.
        is_causal : bool
            A hint that attn_mask is causal, which must be given with it; nothing else depends on it.

        Returns
        -------
        (torch.Tensor, torch.Tensor or None)
            ``[L, N, E]`` as query lies, and the weights.
        """
        if isinstance(query, torch.fx.Proxy):  # a leaf of the graph, as PyTorch's own layer is
            inputs = dict(key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
                          average_attn_weights=average_attn_weights, is_causal=is_causal)  # fmt: skip
            path = query.tracer.path_of_module(self)
            return query.tracer.create_proxy("call_module", path, (query, key, value), inputs)
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        if query.is_nested or key.is_nested or value.is_nested:
            if need_weights or key_padding_mask is not None or attn_mask is not None:
                raise AssertionError("expected nested tensors without masks and with need_weights=False")
            return self._nested(query, key, value), None
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        self._check(query, key, value)
        q, k, v = self._project(query, key, value)
        mask, bias = self._masks(attn_mask, key_padding_mask, q, key.shape[1], k.shape[2])
        out = attention(q, k, v, mask=mask, bias=bias, **self._dropout())
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        weights = None
        if need_weights:
            weights = _weights(q, k, self.head_dim, mask, bias)
            weights = weights.mean(dim=1) if average_attn_weights else weights
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        widths = (self.embed_dim, self.kdim, self.vdim)
        if any(x.dim() != 3 or x.shape[-1] != width for x, width in zip((query, key, value), widths)):
            shapes = ", ".join(str(list(x.shape)) for x in (query, key, value))
            raise AssertionError(
                f"expected query, key and value as [L, N, E] or [L, E] with E = {self.embed_dim}, "
                f"{self.kdim} and {self.vdim}, got {shapes}"
            )
        if not query.shape[0] == key.shape[0] == value.shape[0] or key.shape[1] != value.shape[1]:
            shapes = ", ".join(str(list(x.shape)) for x in (query, key, value))
            raise AssertionError(f"expected query, key and value of equal N, and key and value of equal L, got {shapes} [N, L, E]")

    def _nested(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Packed: each token is projected once, and no sequence is padded."""
        if not (query.is_nested and key.is_nested and value.is_nested) or self.bias_k is not None or self.add_zero_attn:
            raise AssertionError("expected query, key and value all nested, without add_bias_kv and add_zero_attn")
        q, q_offsets = _packed(query)
        if query is key and key is value:
            k, v, k_offsets = q, q, q_offsets
        else:
            (k, k_offsets), (v, v_offsets) = _packed(key), _packed(value)
            if len(q_offsets) != len(k_offsets) or not torch.equal(k_offsets, v_offsets):
                raise AssertionError("expected as many sequences of query as of key, and key and value of equal lengths")
        heads = (x.squeeze(0).transpose(0, 1) for x in self._project(q, k, v))
        out = attention(*heads, q_offsets=q_offsets, k_offsets=k_offsets, **self._dropout())
        return _nested_like(query, self.out_proj(out.flatten(1)), q_offsets)

    def _dropout(self) -> Dict[str, Any]:
        probability = self.dropout if self.training else 0.0
        return dict(dropout=probability, seed=torch.randint(0, 2**62, (1,)) if probability > 0 else 0)

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
        of_pairs = [
            ((length, given), (1, 1, length, given)),
            ((batch * heads, length, given), (batch, heads, length, given)),
        ]
        of_keys = [((batch, given), (batch, 1, 1, given))]
        for name, x, shapes in (("attn_mask", attn_mask, of_pairs), ("key_padding_mask", padding, of_keys)):
            if x is None:
                continue
            if x.dtype != torch.bool and not x.is_floating_point():  # integers would else be added to the scores
                raise AssertionError(f"expected {name} as booleans (True hides) or floating, got {x.dtype}")
            fitting = [seen for shape, seen in shapes if tuple(x.shape) == shape]
            if not fitting:
                wanted = " or ".join(str(tuple(map(int, shape))) for shape, _ in shapes)
                raise RuntimeError(f"expected {name} of shape {wanted}, got {tuple(map(int, x.shape))}")
            x = x.reshape(fitting[0])
            if x.dtype == torch.bool:
                x = functional.pad(~x, (0, keys - given), value=True)
                mask = x if mask is None else mask & x
            else:
                x = functional.pad(x.to(q.dtype), (0, keys - given))
                bias = x if bias is None else bias + x
        return mask, bias


def _weights(q: Tensor, k: Tensor, width: int, mask: Optional[Tensor], bias: Optional[Tensor]) -> Tensor:
    """All weights [N, H, L, S], as PyTorch computes and differentiates them; 0 where a query sees no key."""
    scores = q * (1 / math.sqrt(width)) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return torch.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)


def _packed(x: Tensor) -> Tuple[Tensor, Tensor]:
    """The tokens [1, T, E] of a nested tensor, and the offsets of its sequences."""
    if x.layout == torch.jagged:
        x = x.contiguous()
        return x.values()[None], x.offsets()
    rows = x.unbind()
    ends = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return torch.cat(rows)[None], ends


def _nested_like(x: Tensor, tokens: Tensor, offsets: Tensor) -> Tensor:
    if x.layout == torch.jagged:
        return torch.nested.nested_tensor_from_jagged(tokens, offsets)
    return torch.nested.as_nested_tensor(list(tokens.split(offsets.diff().tolist())))
