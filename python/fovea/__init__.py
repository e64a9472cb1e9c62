"""Fovea: attention that is fast and tells what it did.

>>> import numpy as np, fovea
>>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 8)).astype(np.float32)
>>> fovea.attention(q, k, v, causal=True).shape
(1, 2, 5, 8)
"""

from fovea._attention import attention, attention_vjp
from fovea._blocks import BlockMask
from fovea._fovea import DataError, get_num_threads, set_num_threads
from fovea._fovea import version as _version
from fovea._gradients import Gradients
from fovea._insight import Insight, TopK

__version__ = _version()

__all__ = [
    "BlockMask",
    "DataError",
    "Gradients",
    "Insight",
    "TopK",
    "attention",
    "attention_vjp",
    "get_num_threads",
    "set_num_threads",
]
