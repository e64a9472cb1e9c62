"""What attention_vjp gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from fovea._types import A


class Gradients(Generic[A]):
    """Gradients of Σ dout∘out, of the same kind and shape as what they belong to.

    Always dq, dk and dv; dalibi, dsinks, … where the option was given.
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
