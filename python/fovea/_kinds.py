"""Arrays of NumPy, PyTorch and JAX, seen as NumPy arrays through DLPack without copies, and back again."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Iterator, NoReturn

import numpy as np

# The bits of 16-bit floats travel as uint16: NumPy has no bfloat16 of its own.
HALVES = ("bfloat16", "float16")
DTYPES = ("float32", "float64", *HALVES)


def fail(message: str, call: str = "attention") -> NoReturn:
    raise ValueError(f"[{call}] {message}")


@contextmanager
def renamed(call: str) -> Iterator[None]:
    """What does not fit is said in the name of the call that people made."""
    try:
        yield
    except ValueError as error:
        text = str(error).split("] ", 1)[-1]
    else:
        return
    fail(text, call)


def kind_of(x: Any) -> str | None:
    """'numpy', 'torch', 'jax', or None for anything else."""
    if isinstance(x, np.ndarray):
        return "numpy"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return "torch"
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(x, jax.Array):
        return "jax"
    return None


def stands_for_arrays(*arrays: Any) -> bool:
    """Whether one is no tensor and yet takes part in PyTorch's protocol of functions, as torch.fx's proxies do."""
    return any(hasattr(type(x), "__torch_function__") and kind_of(x) is None for x in arrays)


def recorded(function: Any, q: Any, k: Any, v: Any, keywords: dict[str, Any]) -> Any:
    """The call of `function` as who stands for the arrays records it."""
    from torch.overrides import handle_torch_function

    return handle_torch_function(function, (q, k, v), q, k, v, **keywords)


def wants_gradient(x: Any) -> bool:
    """Whether autograd would expect a gradient of what is made from x now."""
    return bool(getattr(x, "requires_grad", False)) and sys.modules["torch"].is_grad_enabled()


def dtype_of(x: Any) -> str:
    return x.dtype.name if isinstance(x, np.ndarray) else str(x.dtype).removeprefix("torch.")


def to_numpy(x: Any, name: str) -> np.ndarray:
    """The elements of x as a NumPy array that shares its memory; 16-bit floats as uint16."""
    kind = kind_of(x)
    if kind == "numpy":
        if type(x) is not np.ndarray and isinstance(x, np.ma.MaskedArray):
            fail(f"expected {name} without NumPy's own mask, which would be lost; fill it, and give mask= what may be attended")
        return bits(x)
    if kind == "torch":
        return _from_torch(x, name)
    if kind == "jax":
        return _from_jax(x, name)
    fail(f"expected {name} as a NumPy, PyTorch or JAX array, got {type(x).__name__}")


def _from_torch(x: Any, name: str) -> np.ndarray:
    torch = sys.modules["torch"]
    if not x.is_cpu or x.layout != torch.strided or x.is_quantized or x.is_nested:
        what = "nested" if x.is_nested else f"{x.layout} on {x.device}"
        fail(f"expected {name} as a dense tensor on the CPU, got one that is {what}")
    if not torch.compiler.is_compiling() and is_traced(torch):
        fail(f"expected {name} with values that are read outside of tracing, which would keep those of its example for ever")
    x = x.detach()
    if x.is_conj() or x.is_neg():
        x = x.resolve_conj().resolve_neg()
    try:
        if x.dtype == torch.float32 or x.dtype == torch.float64:
            return x.numpy()  # 4 microseconds less than DLPack
        if x.dtype == torch.bfloat16:
            # The elements keep their size, so that any strides remain.
            return bits(x.view(torch.float16).numpy())
        return bits(np.from_dlpack(x))
    except (BufferError, RuntimeError, TypeError) as error:
        fail(f"expected {name} as a tensor whose values can be read, got {type(x).__name__} of {x.dtype}: {error}")


def is_traced(torch: Any) -> bool:
    """Whether torch.jit.trace or make_fx records what is done with tensors."""
    c = torch._C
    return c._get_tracing_state() is not None or c._get_dispatch_mode(c._TorchDispatchModeKey.PROXY) is not None


def _from_jax(x: Any, name: str) -> np.ndarray:
    import jax

    if isinstance(x, jax.core.Tracer):
        fail(f"expected {name} as an array with values, got a JAX tracer; call outside of jax.jit and jax.grad")
    return bits(np.asarray(x))  # a view of the device's memory when the device is the CPU


def bits(x: np.ndarray) -> np.ndarray:
    """16-bit floats as uint16, others as they are; any strides."""
    if x.dtype.name not in HALVES:
        return x
    x = x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    return x.view(np.uint16)  # of equal size: the strides remain


def from_numpy(array: np.ndarray, kind: str | None, dtype: str | None = None, like: Any = None) -> Any:
    """The array as the given kind; for 16-bit `dtype` its elements are uint16 that hold that type's bits."""
    half = dtype in HALVES
    if kind == "torch":
        import torch

        return torch.from_numpy(array.view(np.int16)).view(getattr(torch, str(dtype))) if half else torch.from_numpy(array)
    if kind == "jax":
        import jax

        if array.dtype == np.int64 and not jax.config.read("jax_enable_x64"):
            array = array.astype(np.int32)
        result = jax.dlpack.from_dlpack(np.ascontiguousarray(array))
        return jax.lax.bitcast_convert_type(result, str(dtype)) if half else result
    return array.view(like.dtype.newbyteorder("=")) if half else array


def aligned(x: np.ndarray) -> np.ndarray:
    """x as the engine reads it: innermost stride 1, other strides whole and not negative; else a copy."""
    size = x.itemsize
    strides = x.strides
    if (
        x.dtype.isnative
        and x.flags.aligned
        and (x.size > 0 and x.ndim > 0 and strides[-1] == size)
        and all(s >= 0 and s % size == 0 for s in strides)
    ):
        return x
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="C", copy=True)
