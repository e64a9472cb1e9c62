"""Arguments as nobody should give them, drawn at random."""

import numpy as np

import fovea

DTYPES = ["float32", "float32", "float32", "float64", "float16", "int32", "bool", "complex64", "U3", "O", ">f4", "f4,f4"]


def odd_shape(rng, shape):
    shape = list(shape)
    change = rng.integers(6)
    at = int(rng.integers(len(shape)))
    if change == 0:
        shape[at] = int(rng.choice([0, 1, 3, 7]))
    elif change == 1:
        del shape[at]
    elif change == 2:
        shape.insert(at, int(rng.integers(0, 3)))
    elif change == 3:
        rng.shuffle(shape)
    elif change == 4:
        shape[-1] = 1025
    return tuple(int(n) for n in shape)


def odd_array(rng, shape):
    dtype = DTYPES[rng.integers(len(DTYPES))]
    x = np.zeros(shape, dtype) if dtype in ("U3", "O", "f4,f4") else rng.normal(size=shape).astype(dtype)
    change = rng.integers(6)
    if change == 0 and x.ndim:
        return x[..., ::-1]
    if change == 1 and x.ndim > 1:
        return np.swapaxes(x, 0, -1)
    if change == 2 and x.ndim:
        return np.broadcast_to(x[..., :1], x.shape)
    if change == 3 and x.dtype == np.float32:
        raw = np.zeros(x.nbytes + 3, np.uint8)  # not aligned
        return np.ndarray(x.shape, np.float32, raw.data, offset=3)
    if change == 4:
        x.flags.writeable = False
    return x


def odd_value(rng):
    values = [
        None, True, False, 0, 1, -1, 2**70, -(2**70), 0.5, -0.5, 1.0, 1e300, float("nan"), float("inf"), "", "softmax",
        "top_k:0", b"x", [], [1, 2], (1,), (3, 4), (-1, -1), (1, "a"), (10**30, 1), {}, object(), np.float32(0.25),
        np.int8(3), np.array(3.0), np.array([1, 2, 3, 4]), np.ones((4,), "f4"), np.ones((9, 11), bool),
        np.full((4, 9, 11), -np.inf, "f4"), np.array([0, 5, 9]), np.array([0, 2**62, 9]), np.array([9, 0]),
        ["entropy", "max"], ["top_k:3"], ["top_k:65"], ["colour"], [None], np.ones(4, complex), lambda: 0, 3j,
        fovea.BlockMask.causal(), fovea.BlockMask(np.ones((1, 1), bool), (16, 16)), fovea.BlockMask, range(4),
        fovea.Rotary(), fovea.Rotary(width=64), fovea.Override({0: "off"}), fovea.Override({9: "uniform"}), fovea.Rotary,
        fovea.Override({0: "frozen"}, weights=np.ones((2, 1, 9, 11))), ["key_sets"], np.arange(11) % 3 - 1,
    ]  # fmt: skip
    return values[rng.integers(len(values))]
