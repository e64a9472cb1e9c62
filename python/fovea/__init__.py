"""Fovea: attention that is fast and tells what it did.

>>> import numpy as np, fovea
>>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 8)).astype(np.float32)
>>> fovea.attention(q, k, v, causal=True).shape
(1, 2, 5, 8)
"""

from __future__ import annotations

import importlib
from typing import Any

from fovea import _interpreter as _interpreter  # first: it says where nothing else can be imported
from fovea._attention import attention, attention_vjp
from fovea._blocks import BlockMask
from fovea._decode import KvCache, attention_decode
from fovea._explanation import Explanation
from fovea._fovea import DataError
from fovea._fovea import version as _version
from fovea._gradients import Gradients
from fovea._insight import Insight, SampledMass, TopK
from fovea._merge import merge
from fovea._models import Model, Prediction, load, train
from fovea._override import Override
from fovea._relative import Relative
from fovea._rotary import Rotary
from fovea._threads import get_num_threads, set_num_threads

__version__ = _version()
DataError.__module__ = "fovea"  # as tracebacks call it


_LAZY = ("jax", "torch")  # imported only where they are asked for


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fovea.{name}")
    raise AttributeError(f"module 'fovea' has no attribute '{name}'")


__all__ = [
    "BlockMask",
    "DataError",
    "Explanation",
    "Gradients",
    "Insight",
    "KvCache",
    "Model",
    "Override",
    "Prediction",
    "Relative",
    "Rotary",
    "SampledMass",
    "TopK",
    "attention",
    "attention_decode",
    "attention_vjp",
    "get_num_threads",
    "load",
    "merge",
    "set_num_threads",
    "train",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY, *(name for name in globals() if name.startswith("__"))})
