"""Fovea under JAX's transformations: jax.grad, jax.jit, jax.vmap, jax.checkpoint and jax.lax.scan.

>>> import jax, jax.numpy as jnp, fovea.jax
>>> q = jnp.ones((1, 2, 5, 8))
>>> loss = lambda q, sinks: fovea.jax.attention(q, q, q, causal=True, sinks=sinks).sum()
>>> dq, dsinks = jax.jit(jax.grad(loss, (0, 1)))(q, jnp.zeros(2))
>>> dq.shape, dsinks.shape
((1, 2, 5, 8), (2,))
"""

from fovea._jax import attention as attention

__all__ = ["attention"]


def __dir__() -> "list[str]":
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
