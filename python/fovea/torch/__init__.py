"""Fovea in PyTorch models: drop-ins for PyTorch's own attention, with gradients and under torch.compile."""

from fovea.torch import _ops as _ops  # registers the operators, which a saved graph names
from fovea.torch._multihead import MultiheadAttention
from fovea.torch._sdpa import scaled_dot_product_attention

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]


def __dir__() -> "list[str]":
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
