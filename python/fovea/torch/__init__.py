"""Fovea in PyTorch models: drop-ins for PyTorch's own attention, with gradients and under torch.compile."""

import fovea.torch._ops  # noqa: F401 - registers the operators, which a saved graph names
from fovea.torch._multihead import MultiheadAttention
from fovea.torch._sdpa import scaled_dot_product_attention

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]
