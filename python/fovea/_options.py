"""The keywords of a call, checked and filled in."""

from __future__ import annotations

import inspect
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea import _fovea
from fovea._blocks import BlockMask
from fovea._insight import FORMS, OBSERVERS
from fovea._kinds import dtype_of, fail, to_numpy
from fovea._numbered import number_of
from fovea._override import Override
from fovea._relative import Relative
from fovea._rotary import Rotary

SCORES = tuple(_fovea.Score.__members__)
NORMALIZERS = ("softmax", "softmax1")
PRECISIONS = ("strict", "high", "fast")
ALL_KEYS = 2**40  # more than any sequence has
MAX_SETS = 64
MAX_FLOAT32 = 3.4028234663852886e38


@dataclass(frozen=True)
class Options:
    """The keywords of a call that are not arrays, checked."""

    score: str
    normalizer: str
    scale: float | None
    causal: bool
    from_start: bool  # causal, and aligned to the first query and key, as PyTorch has it
    left: int
    right: int
    softcap: float
    top_k: int  # 0 for all keys
    dropout: float
    seed: int
    precision: str
    relative_kind: str  # what the rows of the array `relative` are, as the next two
    relative_distance: int
    relative_both: bool
    blocks: int  # the number of a BlockMask, 0 for none, as of the next two
    rotary: int
    override: int

    @staticmethod
    def of(
        score: Any = "scaled_dot",
        normalizer: Any = "softmax",
        scale: Any = None,
        causal: Any = False,
        from_start: bool = False,
        window: Any = None,
        softcap: Any = None,
        top_k: Any = None,
        dropout: Any = 0.0,
        seed: Any = 0,
        precision: Any = "strict",
        relative: Any = None,
        blocks: Any = None,
        rotary: Any = None,
        override: Any = None,
    ) -> Options:
        left, right = pair("window", window)
        if relative is not None and not isinstance(relative, Relative):
            fail(f"expected relative as a fovea.Relative, got {type(relative).__name__}")
        return Options(
            score=choice("score", score, SCORES),
            normalizer=choice("normalizer", normalizer, NORMALIZERS),
            scale=None if scale is None else number("scale", scale),
            causal=flag("causal", causal),
            from_start=from_start,
            left=left,
            right=right,
            softcap=0.0 if softcap is None else number("softcap", softcap, 0.0),
            top_k=0 if top_k is None else key_count("top_k", top_k),
            dropout=number("dropout", dropout, 0.0, 1.0),
            seed=integer("seed", seed, 0, 2**63 - 1),
            precision=choice("precision", precision, PRECISIONS),
            relative_kind="" if relative is None else relative.kind,
            relative_distance=0 if relative is None else relative.max_distance,
            relative_both=relative is None or relative.bidirectional,
            blocks=number_of("blocks", blocks, BlockMask),
            rotary=number_of("rotary", rotary, Rotary),
            override=number_of("override", override, Override),
        )


# Keywords that are arrays, of which those in DIFFERENTIABLE have a gradient; scale and seed may be numbers.
DIFFERENTIABLE = ("bias", "alibi", "sinks", "scale", "relative")
ARRAYS = (*DIFFERENTIABLE, "mask", "q_offsets", "k_offsets", "key_sets", "seed")
KEYWORDS = (frozenset(inspect.signature(Options.of).parameters) | frozenset(ARRAYS)) - {"from_start"}


def split(keywords: dict[str, Any]) -> tuple[Options, dict[str, Any]]:
    """(options, arrays that were given)."""
    arrays, rest = {}, {}
    for name, x in keywords.items():
        if name == "relative":
            rest[name] = x
            if isinstance(x, Relative):
                arrays[name] = x.table
            continue
        either = name in ("scale", "seed")
        is_array = hasattr(x, "ndim") and x.ndim > 0 or isinstance(x, (list, tuple)) if either else name in ARRAYS
        if not is_array:
            rest[name] = x
        elif x is not None:
            arrays[name] = x
    return Options.of(**rest), arrays


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        fail(f"expected {name} out of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        fail(f"expected {name} as True or False, got {value!r}")
    return bool(value)


def number(name: str, value: Any, least: float = -math.inf, below: float = math.inf) -> float:
    try:
        if isinstance(value, (str, bytes)):  # which float() would read
            raise TypeError
        result = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        fail(f"expected {name} as a number, got {value!r}")
    if not least <= result < below:
        fail(f"expected {name} {interval(least, below)}, got {value!r}")
    if abs(result) > MAX_FLOAT32:
        fail(f"expected {name} within float32's range, got {value!r}")
    return result


def interval(least: float, below: float) -> str:
    if least == -math.inf:
        return "as a finite number"
    return f">= {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"


def integer(name: str, value: Any, least: int, most: int) -> int:
    try:
        result = operator.index(value)
    except TypeError:
        fail(f"expected {name} as an integer, got {value!r}")
    if not least <= result <= most:
        fail(f"expected {name} in [{least}, {most}], got {result}")
    return result


def key_count(name: str, value: Any) -> int:
    """How many keys to keep: as many as one likes, of which there are ALL_KEYS at most."""
    try:
        result = operator.index(value)
    except TypeError:
        fail(f"expected {name} as an integer, got {value!r}")
    if result < 1:
        fail(f"expected {name} >= 1, got {result}")
    return min(result, ALL_KEYS)


def pair(name: str, value: Any) -> tuple[int, int]:
    if value is None:
        return (-1, -1)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        fail(f"expected {name} as (left, right), got {value!r}")
    return (integer(f"{name}'s left", value[0], -1, 2**40), integer(f"{name}'s right", value[1], -1, 2**40))


def heads_row(name: str, value: Any, heads: int, real: type) -> np.ndarray | None:
    """One float for each head."""
    if value is None:
        return None
    row = floats(name, value, real)
    if row.shape != (heads,):
        fail(f"expected {name} with one number for each of the {heads} heads, got {row.shape}")
    return np.ascontiguousarray(row)


def floats(name: str, value: Any, real: type) -> np.ndarray:
    """The numbers as NumPy's type `real`; no copy where they are of that type."""
    dtype = dtype_of(value) if hasattr(value, "dtype") else ""
    row = list_or_array(name, value, "numbers")
    if dtype == "bfloat16":
        row = (row.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "float16":
        row = row.view(np.float16)
    if row.dtype.kind not in "fiu":
        fail(f"expected {name} as numbers, got {row.dtype} {row.shape}")
    return row.astype(real, copy=False) if row.dtype.kind == "f" else row.astype(real)


def scores(name: str, x: np.ndarray, wanted: tuple[int, int, int, int], form: str) -> np.ndarray:
    """x broadcast to [N, H, Lq, Lk]; no copy."""
    try:
        return np.broadcast_to(x, wanted)
    except ValueError:
        fail(f"expected {name} broadcastable to {form} [{', '.join(map(str, wanted))}], got {list(x.shape)}")


def offsets(name: str, value: Any, total: int) -> list[int]:
    row = list_or_array(name, value, "integers [N + 1]")
    if row.ndim != 1 or row.dtype.kind not in "iu" or row.shape[0] < 1:
        fail(f"expected {name} as integers [N + 1], got {row.dtype} {row.shape}")
    result = [int(i) for i in row]
    if result[0] != 0 or result[-1] != total or any(b < a for a, b in zip(result, result[1:])):
        shown = str(result) if len(result) <= 8 else f"{result[:4]} … {result[-2:]}"
        fail(f"expected {name} to ascend from 0 to the {total} tokens, got {shown}")
    return result


def key_sets(value: Any, keys: list[int]) -> np.ndarray | None:
    """The set of each key of the packed batch; `keys` are the sequences' lengths. [Lk] serves all of one length."""
    if value is None:
        return None
    row = list_or_array("key_sets", value, "integers")
    total = sum(keys)
    if row.ndim == 1 and row.size != total and set(keys) == {row.size}:
        row = np.tile(row, len(keys))
    if row.dtype.kind not in "iu" or row.ndim not in (1, 2) or row.size != total:
        fail(f"expected key_sets as an integer for each of the {total} keys, got {row.dtype} {list(row.shape)}")
    if row.size and (row.min() < -1 or row.max() >= MAX_SETS):
        fail(f"expected key_sets in [-1, {MAX_SETS}), got {row.min()} to {row.max()}")
    return np.ascontiguousarray(row.reshape(-1), np.int32)


def seed_of(x: Any) -> int:
    """A seed that came as an array of one integer."""
    row = list_or_array("seed", x, "an integer")
    if row.size != 1 or row.dtype.kind not in "iu":
        fail(f"expected seed as one integer, got {row.dtype} {row.shape}")
    return integer("seed", int(row.reshape(-1)[0]), 0, 2**63 - 1)


def list_or_array(name: str, value: Any, what: str) -> np.ndarray:
    if not isinstance(value, (list, tuple)):
        return to_numpy(value, name)
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        fail(f"expected {name} as {what}, got {value!r}")


@dataclass(frozen=True)
class Observe:
    """What `observe` asked for: names as people wrote them, without lse, which is always there."""

    names: tuple[str, ...] = ()

    def number(self, name: str) -> list[int]:
        """What stands behind the colon of a name; empty where the name was not given."""
        for given in self.names:
            head, _, rest = given.partition(":")
            if head == name:
                return [int(x) for x in rest.split(",")] if rest else []
        return []

    def __contains__(self, name: str) -> bool:
        return any(given.partition(":")[0] == name for given in self.names)


def observers(wishes: Observe, sets: np.ndarray | None) -> Any:
    """As the engine takes them; `sets` are the key_sets of the call."""
    result = _fovea.Observers()
    if ("key_sets" in wishes) != (sets is not None):
        found = "key_sets" if sets is not None else "observe=['key_sets']"
        fail(f"expected key_sets together with observe=['key_sets'], got {found} alone")
    for name in wishes.names:
        head = name.partition(":")[0]
        if head == "top_k":
            result.top_k = wishes.number(name="top_k")[0]
        elif sets is not None and head == "key_sets":
            result.key_set_count = 1 + int(sets.max(initial=0))
        elif head == "near":
            result.near_left, result.near_right = wishes.number("near")
        else:
            setattr(result, head, True)
    return result


def whole(text: str) -> int:
    """The number that digits spell, no more than ALL_KEYS; −1 of anything else."""
    if not (text.isascii() and text.isdigit()):
        return -1
    digits = text.lstrip("0")  # of which Python reads 4300
    return ALL_KEYS if len(digits) > 13 else min(int(digits or "0"), ALL_KEYS)


def observe(value: Any) -> Observe:
    forms = ", ".join(name + FORMS.get(name, "") for name in OBSERVERS)
    if not isinstance(value, (list, tuple)):
        fail(f"expected observe as a list out of lse, {forms}, got {value!r}")
    names: dict[str, str] = {}
    for wish in value:
        if not isinstance(wish, str):
            fail(f"expected observe as a list of names, got {wish!r}")
        name, colon, numbers = wish.partition(":")
        if name == "lse" and not colon:
            continue
        if name not in OBSERVERS or bool(colon) != (name in FORMS):
            fail(f"expected observe's names out of lse, {forms}, got {wish!r}")
        if colon:
            found = [whole(x) for x in numbers.split(",")]
            if name == "top_k" and (len(found) != 1 or found[0] < 1):
                fail(f"expected observe's top_k:k with a number k >= 1, got {wish!r}")
            if name != "top_k" and (len(found) != 2 or not all(0 <= x <= 10**9 for x in found)):
                fail(f"expected observe's {name}{FORMS[name]} with numbers in [0, {10**9}], got {wish!r}")
            wish = f"{name}:{','.join(map(str, found))}"
        names[name] = wish
    return Observe(tuple(names.values()))
