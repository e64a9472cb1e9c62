"""What attention_vjp gives."""

from __future__ import annotations

from typing import Any


class Gradients:
    """Gradients of Σ dout∘out, of the same kind and shape as what they belong to.

    Always dq, dk and dv; dalibi, dsinks, … where the option was given.
    """

    dq: Any
    dk: Any
    dv: Any

    def __init__(self, **gradients: Any):
        self.__dict__.update(gradients)

    def __repr__(self) -> str:
        return "Gradients(" + ", ".join(self.__dict__) + ")"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no gradient '{name}'; there are {', '.join(self.__dict__)}")
