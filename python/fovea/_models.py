"""Trained models and training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Callable, Sequence

from fovea import _folder, _fovea
from fovea._explanation import Explanation
from fovea._kinds import fail
from fovea._options import integer, number
from fovea._paths import path as _path


class Prediction:
    """What a classifier holds of one text.

    Attributes
    ----------
    label, index
        the most likely class
    probability
        of that class
    probabilities
        of every class, in the order of :attr:`Model.labels`
    """

    def __init__(self, inner: Any):
        self.label: str = inner.label
        self.index: int = inner.index
        self.probability: float = inner.probability
        self.probabilities: list[float] = inner.probabilities

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, {self.probability:.3f})"


class Model:
    """A trained model folder, ready to use; see :func:`fovea.load`. Threads may share it.

    A pickle of it holds the files of its folder, which must be as they were when the model was loaded, and needs the folder
    no more: in another process or on another machine it makes a temporary one, which goes with the model.
    """

    def __init__(self, inner: Any):
        self._inner = inner
        self._stamp = _folder.stamp(inner.folder)

    def __reduce__(self) -> Any:
        return _unpickled, (_folder.packed(self.folder, self._stamp),)

    def __copy__(self) -> Model:
        return self  # nothing changes in it

    def __deepcopy__(self, memo: Any) -> Model:
        return self

    @property
    def folder(self) -> Path:
        return self._inner.folder

    @property
    def verified(self) -> bool:
        """Every file was held against the folder's checksums; False where an earlier version wrote none."""
        return self._inner.verified

    @property
    def task(self) -> str:
        """``"text-classification"``, ``"language-model"``, …"""
        return self._inner.task

    @property
    def kind(self) -> str:
        """``"attention"``, ``"lstm"``, …"""
        return self._inner.kind

    @property
    def labels(self) -> list[str]:
        """The classes; ValueError on a model of another task."""
        return self._inner.labels

    @property
    def parameter_count(self) -> int:
        return self._inner.parameter_count

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The most likely class of each text, and how likely every class is."""
        return [Prediction(p) for p in self._inner.predict(_texts(texts, "predict"))]

    def generate(
        self,
        prompt: str = "",
        *,
        max_tokens: int = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 1,
    ) -> str:
        """Continues a text (language models); the same seed gives the same text. Temperature 0 always takes the most
        likely token; `top_k` and `top_p` leave unlikely ones out."""
        if not isinstance(prompt, str):
            fail(f"expected prompt as text, got {type(prompt).__name__}", "generate")
        return self._inner.generate(
            prompt,
            integer("max_tokens", max_tokens, 0, 2**31),
            number("temperature", temperature, 0.0),
            integer("top_k", top_k, 0, 2**31),
            number("top_p", top_p, 0.0, 1.0 + 1e-9),
            integer("seed", seed, 0, 2**63 - 1),
        )

    def evaluate(self, file: str | os.PathLike[str]) -> dict[str, float]:
        """Figures (accuracy, macro F1, …) on a table with the training table's columns."""
        return dict(self._inner.evaluate(_path("file", file)))

    def explain(self, texts: Sequence[str], truths: Sequence[str] | None = None) -> Explanation:
        """Reads each text, looks inside, and gives a page; `truths` are the true labels where they are known."""
        given = _texts(texts, "explain")
        labels = [""] * len(given) if truths is None else _texts(truths, "explain")
        if len(labels) != len(given):
            fail(f"expected as many truths as texts, got {len(labels)} and {len(given)}", "explain")
        return Explanation(self._inner.explain(list(zip(given, labels))))

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, {self.task}, {self.kind}, {self.parameter_count:,} parameters)"


def _unpickled(files: dict[str, bytes]) -> Model:
    model = Model.__new__(Model)
    model.__init__(_fovea.Model.load(_folder.unpacked(files, model)))  # type: ignore[misc]
    return model


def load(folder: str | os.PathLike[str]) -> Model:
    """A model that was trained, by `fovea train` or :func:`fovea.train`.

    Every file of the folder is held against its manifest first. A folder of an earlier version has none: it is loaded
    with a :class:`UserWarning`, and :attr:`Model.verified` is False.

    Raises
    ------
    fovea.DataError
        There is no model, or a damaged one; the message names the file and what to do.

    Examples
    --------
    >>> import fovea
    >>> fovea.load("no/such/folder")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    fovea.DataError: no/such/folder: expected a model folder
    """
    model = Model(_fovea.Model.load(_path("folder", folder)))
    if not model.verified:
        warnings.warn(
            f"{model.folder}: unverified, an earlier version wrote it without manifest.json: damage cannot be seen",
            stacklevel=2,
        )
    return model


def train(
    recipe: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    set: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Model:
    """Trains what a recipe says and gives the model.

    Parameters
    ----------
    recipe
        A TOML file (docs/formats/recipe.md).
    out
        The model's folder; default ``out/`` and the recipe's name, as for `fovea train`.
    set
        Values in place of the recipe's: ``{"model.layers": 2}``.
    resume, overwrite
        Continue what `out` holds, exactly where it stopped, with the same settings on the same data; a run that has
        finished is evaluated, or goes on where ``set`` gives it a larger ``train.epochs``. Or begin anew there: the
        model in `out` stays until the new one is whole. Else a folder in use is refused.
    progress
        Called after each step with a dictionary of stage, done, total, tokens, loss and message. Ctrl-C stops between
        two steps, after a checkpoint is written.

    Raises
    ------
    fovea.DataError
        The recipe or the data cannot be used (the message names file and line), another run is at work in `out`, or
        `resume` finds other data than the run began with.
    ValueError
        `out` is in use without `resume` or `overwrite`; with `resume`, there is nothing to continue, or a setting
        differs from the one that the run began with.
    """
    file = _path("recipe", recipe)
    changes = [f"{key}={_toml(value)}" for key, value in (set or {}).items()]
    target = Path("out") / file.stem if out is None else _path("out", out)
    return Model(_fovea.train(file, target, changes, bool(resume), bool(overwrite), progress))


def _texts(texts: Any, call: str) -> list[str]:
    # Each of these can be walked through, and gives something else than texts in their order.
    wrong = isinstance(texts, (str, bytes, bytearray, Mapping, Set)) or hasattr(texts, "columns")
    if wrong or not hasattr(texts, "__iter__") or getattr(texts, "ndim", 1) != 1:
        hint = f"; one text is [{texts!r:.40}]" if isinstance(texts, str) else ""
        hint = "; give one of its columns" if hasattr(texts, "columns") else hint
        fail(f"expected a list of texts, got {type(texts).__name__}{hint}", call)
    result = list(texts)
    for place, text in enumerate(result):
        if not isinstance(text, str):
            found = f"{text!r:.20} ({type(text).__name__})"
            fail(f"expected a list of texts, got {found} at {place}; an empty text is ''", call)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            fail(f"expected a list of texts, got half a character at {place}, offset {error.start}", call)
    return result


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(x) for x in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
