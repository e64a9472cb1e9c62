"""What type checkers know of calls. PyTorch and JAX are named for them only: where one is not installed, its arrays are
of any type to the checker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Sequence, TypedDict, TypeVar, Union

import numpy as np

from fovea._blocks import BlockMask
from fovea._override import Override
from fovea._relative import Relative
from fovea._rotary import Rotary

if TYPE_CHECKING:
    from jax import Array
    from torch import Tensor
    from typing_extensions import Unpack as Unpack  # checkers bring it; nothing imports it when the package runs

#: q, k and v, and what a call gives: all of one kind.
A = TypeVar("A", "np.ndarray[Any, Any]", "Tensor", "Array")
#: Arrays among the keywords, of any kind, or lists of numbers.
Numbers = Union["np.ndarray[Any, Any]", "Tensor", "Array", Sequence[Any]]

Score = Literal["scaled_dot", "dot", "cosine", "neg_sq_l2", "neg_sq_lorentz"]
Normalizer = Literal["softmax", "softmax1"]
Precision = Literal["strict", "high", "fast"]
Window = Union["tuple[int, int]", "list[int]", None]


class Common(TypedDict, total=False):
    """Keywords of attention and attention_decode."""

    score: Score
    normalizer: Normalizer
    causal: bool
    window: Window
    alibi: Union[Numbers, None]
    relative: Union[Relative, None]
    softcap: Union[float, None]
    sinks: Union[Numbers, None]
    q_offsets: Union[Numbers, None]
    key_sets: Union[Numbers, None]
    precision: Precision


class DecodeKeywords(Common, total=False):
    """Keywords of attention_decode, without observe."""

    scale: Union[float, None]


class Keywords(Common, total=False):
    """Keywords of attention, without observe."""

    scale: Union[float, Numbers, None]
    mask: Union[Numbers, None]
    bias: Union[Numbers, None]
    blocks: Union[BlockMask, None]
    top_k: Union[int, None]
    dropout: float
    seed: Union[int, Numbers]
    k_offsets: Union[Numbers, None]
    rotary: Union[Rotary, None]
    override: Union[Override, None]
