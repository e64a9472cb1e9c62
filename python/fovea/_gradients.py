"""What attention_vjp gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from fovea._types import A


class Gradients(Generic[A]):
    """Gradients of Σ dout∘out + Σ dlse·lse, of the same kind and shape as what they belong to. Made by
    :func:`fovea.attention_vjp`.

    dq, dk and dv are always there and of the type of q; the others where their option was given as an array, float32
    (float64 beside float64). Asking for one that is not there raises AttributeError and names those that are.

    Attributes
    ----------
    dq : array
        ``[B, H, Lq, D]``, packed ``[Tq, H, D]``.
    dk : array
        ``[B, Hkv, Lk, D]``, packed ``[Tk, Hkv, D]``: summed over the query heads that share a key head.
    dv : array
        ``[B, Hkv, Lk, Dv]``, packed ``[Tk, Hkv, Dv]``, likewise.
    dbias : array
        As `bias` was given, summed over what was broadcast.
    dalibi : array
        ``[H]``, of the slopes.
    dsinks : array
        ``[H]``.
    dscale : array
        ``[H]``, of a scale a head.
    drelative : array
        ``[rows, H]``, of the table of `relative`.
    """

    dq: A
    dk: A
    dv: A
    dbias: A
    dalibi: A
    dsinks: A
    dscale: A
    drelative: A

    def __init__(self, **gradients: Any):
        self.__dict__.update(gradients)

    def __repr__(self) -> str:
        return "Gradients(" + ", ".join(self.__dict__) + ")"

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"there is no gradient '{name}'; there are {', '.join(self.__dict__)}")
