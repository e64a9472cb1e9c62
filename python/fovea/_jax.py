"""fovea.jax: the engine as a host callback of JAX, with its gradient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence, overload

import numpy as np

from fovea import _options as options
from fovea._call import Call
from fovea._kinds import HALVES, fail, to_numpy
from fovea._numbered import Numbered, lookup

if TYPE_CHECKING:
    from jax import Array

    from fovea._insight import Insight
    from fovea._types import Keywords, Unpack

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("fovea.jax needs JAX: pip install jax") from error


class Static(NamedTuple):
    """What a call is traced for. The objects are kept for as long as JAX keeps what it compiled."""

    given: options.Options
    objects: tuple[Numbered | None, ...]  # blocks, rotary, override, which the options know by number

    @staticmethod
    def of(given: options.Options) -> Static:
        return Static(given, tuple(lookup(number) for number in (given.blocks, given.rotary, given.override)))


@overload
def attention(q: Array, k: Array, v: Array, *, observe: None = None, **keywords: Unpack[Keywords]) -> Array: ...
@overload
def attention(
    q: Array, k: Array, v: Array, *, observe: Sequence[str], **keywords: Unpack[Keywords]
) -> tuple[Array, Insight[Array]]: ...
def attention(q: Any, k: Any, v: Any, **keywords: Any) -> Any:
    """:func:`fovea.attention` as a JAX function, to be transformed: what that function calls by itself for traced arrays.

    Gradients, by reverse mode and once, are those of q, k, v and of `bias`, `alibi`, `sinks`, `scale` (one or one a head)
    and the table of `relative`, as far as they are JAX arrays; only those that are asked for are computed. Under transformations
    the engine runs as a host callback, which costs copies of the arrays. `jax.vmap` calls the engine
    once for each element, one after the other: give arrays a batch axis where you can.

    Parameters
    ----------
    q, k, v : JAX arrays ``[B, H, L, D]`` or packed ``[T, H, D]``
        On the CPU, all of one type.
    **keywords
        As of :func:`fovea.attention`. Arrays among them, offsets and the seed too, may be traced; the other options are
        part of what is compiled. `observe` answers arrays with values only, outside of transformations.

    Returns
    -------
    array or (array, Insight)
        ``[B, H, L, Dv]``, packed ``[T, H, Dv]``; with `observe` as of :func:`fovea.attention`.

    Raises
    ------
    ValueError
        While tracing, as far as shapes and types tell. What values tell (offsets) is raised when the compiled function runs,
        by JAX's own error type.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, fovea.jax
    >>> q = jnp.ones((1, 2, 5, 8))
    >>> jax.jit(lambda q: fovea.jax.attention(q, q, q, causal=True))(q).shape
    (1, 2, 5, 8)
    """
    from fovea._attention import attention as direct
    from fovea._attention import kind_of_all

    unknown = keywords.keys() - options.KEYWORDS - {"observe"}
    if unknown:
        raise TypeError(f"attention() got an unexpected keyword argument {min(unknown)!r}")
    if kind_of_all(q, k, v) != "jax":
        fail(f"expected q, k and v as JAX arrays, got {type(q).__name__}")
    if not traced(q, k, v, keywords):
        return direct(q, k, v, **keywords)
    if keywords.pop("observe", None) is not None:
        fail("expected observe outside of JAX's transformations, which keep no Insight, got traced arrays")
    return attention_traced(q, k, v, keywords)


def traced(q: Any, k: Any, v: Any, keywords: dict[str, Any]) -> bool:
    """Whether JAX watches this call instead of computing it."""
    table = getattr(keywords.get("relative"), "table", None)
    return any(isinstance(x, jax.core.Tracer) for x in (q, k, v, table, *keywords.values()))


def attention_traced(q: Any, k: Any, v: Any, keywords: dict[str, Any]) -> Any:
    keywords = dict(keywords)
    for name, shape in (("scale", (q.shape[1],) if q.ndim > 1 else ()), ("seed", (1,))):
        x = keywords.get(name)
        if isinstance(x, jax.Array) and x.ndim == 0:  # one number that may be traced
            keywords[name] = jnp.broadcast_to(x, shape)
    given, arrays = options.split(keywords)
    if "key_sets" in arrays:
        fail("expected key_sets together with observe=['key_sets'], got key_sets alone")
    inputs = dict(q=q, k=k, v=v, **{name: as_jax(name, x) for name, x in arrays.items()})
    static = Static.of(given)
    check(static, inputs)
    return _attention(static, inputs)


def as_jax(name: str, x: Any) -> Any:
    return x if isinstance(x, jax.Array) else jnp.asarray(options.list_or_array(name, x, "an array"))


def check(static: Static, inputs: dict[str, Any]) -> None:
    """Refuses while tracing what does not fit, so far as shapes tell it: by the call's own checks of arrays of zeros."""
    if any(isinstance(inputs.get(name), jax.core.Tracer) for name in ("q_offsets", "k_offsets")):
        return
    zeros = {name: np.broadcast_to(np.zeros((), x.dtype), x.shape) for name, x in inputs.items()}
    known = {name: x for name, x in inputs.items() if not isinstance(x, jax.core.Tracer) and name not in ("q", "k", "v")}
    make_call(static, zeros | known)


def real_of(dtype: Any) -> Any:
    return np.float64 if dtype == np.float64 else np.float32


def saved_width(dtype: Any) -> int:
    """Numbers of a row that the softmax leaves for backward."""
    return 1 if dtype == np.float64 else 2


def make_call(static: Static, inputs: dict[str, Any]) -> Call:
    rest = dict(inputs)
    q, k, v = (rest.pop(name) for name in ("q", "k", "v"))
    return Call(to_numpy(q, "q"), to_numpy(k, "k"), to_numpy(v, "v"), str(q.dtype), static.given, **rest)


def as_result(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Elements side by side, as XLA takes them; 16-bit floats from the uint16 that hold their bits."""
    x = np.ascontiguousarray(x)
    return x.view(dtype) if str(dtype) in HALVES and x.dtype == np.uint16 else x.astype(dtype, copy=False)


def run_forward(static: Static, inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    call = make_call(static, inputs)
    out, seen = call.forward(options.Observe())
    return as_result(out, inputs["q"].dtype), np.ascontiguousarray(call.rows_first(seen["saved"]))


def run_backward(
    static: Static, wanted: tuple[str, ...], inputs: dict[str, Any], out: Any, saved: Any, dout: Any
) -> dict[str, np.ndarray]:
    call = make_call(static, inputs)
    raw = call.rows_first_undone(to_numpy(saved, "saved"))
    arrays = [name for name in wanted if name in options.DIFFERENTIABLE]
    found = call.backward(to_numpy(out, "out"), raw, to_numpy(dout, "dout"), arrays)
    return {name: as_result(found["d" + name], inputs[name].dtype) for name in wanted}


def _no_second(*arguments: Any) -> Any:
    raise NotImplementedError("[attention] expected one gradient, got the gradient of a gradient, which is not there")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def forward(static: Static, inputs: dict[str, Any]) -> Any:
    q, v = inputs["q"], inputs["v"]
    shapes = (
        jax.ShapeDtypeStruct((*q.shape[:-1], v.shape[-1]), q.dtype),
        jax.ShapeDtypeStruct((*q.shape[:-1], saved_width(q.dtype)), real_of(q.dtype)),
    )
    return jax.pure_callback(partial(run_forward, static), shapes, inputs, vmap_method="sequential")


forward.defvjp(_no_second, _no_second)  # reached by a gradient of a gradient alone


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(static: Static, inputs: dict[str, Any]) -> Any:
    return forward(static, inputs)[0]


def _keep(static: Static, inputs: dict[str, Any]) -> Any:
    values = {name: x.value for name, x in inputs.items()}
    # A dict of nothing: its keys are part of what is traced.
    wanted: dict[str, tuple[()]] = {name: () for name, x in inputs.items() if x.perturbed and is_differentiable(name)}
    out, saved = forward(static, values)
    return out, (values, out, saved, wanted)


def is_differentiable(name: str) -> bool:
    return name in ("q", "k", "v", *options.DIFFERENTIABLE)


def _backward(static: Static, kept: Any, dout: Any) -> Any:
    values, out, saved, wanted = kept
    if isinstance(dout, jax.custom_derivatives.SymbolicZero):
        return ({name: None for name in values},)
    found = _gradients(static, tuple(wanted), values, out, saved, dout)
    return ({name: found.get(name) for name in values},)


_attention.defvjp(_keep, _backward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(static: Static, wanted: tuple[str, ...], inputs: dict[str, Any], out: Any, saved: Any, dout: Any) -> Any:
    shapes = {name: jax.ShapeDtypeStruct(inputs[name].shape, inputs[name].dtype) for name in wanted}
    run = partial(run_backward, static, wanted)
    return jax.pure_callback(run, shapes, inputs, out, saved, dout, vmap_method="sequential")


_gradients.defvjp(_no_second, _no_second)
