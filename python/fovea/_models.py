"""Trained models and training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from fovea import _folder, _fovea
from fovea._explanation import Explanation
from fovea import _options as options
from fovea._kinds import fail, renamed
from fovea._paths import path as _path


class Prediction:
    """What a classifier holds of one text. Made by :meth:`Model.predict`.

    Attributes
    ----------
    label : str
        The most likely class, by name.
    index : int
        Its place in :attr:`Model.labels`; of equally likely classes the lower.
    probability : float
        That of this class, in [0, 1].
    probabilities : list of float
        Those of every class, in the order of :attr:`Model.labels`; they sum to one.
    """

    def __init__(self, inner: Any):
        self.label: str = inner.label
        self.index: int = inner.index
        self.probability: float = inner.probability
        self.probabilities: list[float] = inner.probabilities

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, {self.probability:.3f})"


class Model:
    """A trained model folder, ready to use. Made by :func:`fovea.load` and :func:`fovea.train`. Threads may share it.

    A pickle of it holds the files of its folder, which must be as they were when the model was loaded, and needs the folder
    no more: in another process or on another machine it makes a temporary one, which goes with the model.
    """

    def __init__(self, inner: Any):
        if not isinstance(inner, _fovea.Model):
            fail(f"expected what fovea.load or fovea.train makes, got {type(inner).__name__}: call those", "Model")
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
        """Where the model was loaded from."""
        return self._inner.folder

    @property
    def verified(self) -> bool:
        """Every file was held against the folder's checksums; False where an earlier version wrote none."""
        return self._inner.verified

    @property
    def task(self) -> str:
        """``"text-classification"`` or ``"language-model"``."""
        return self._inner.task

    @property
    def kind(self) -> str:
        """The recipe's ``model.kind``, such as ``"attention"``, ``"lstm"`` or ``"linear"``."""
        return self._inner.kind

    @property
    def labels(self) -> list[str]:
        """The classes by name, in the order of :attr:`Prediction.probabilities`. ValueError on a model of another task."""
        return self._inner.labels

    @property
    def parameter_count(self) -> int:
        """The number of elements of all tensors that training could change, each shared one once."""
        return self._inner.parameter_count

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The most likely class of each text, and how likely every class is.

        Parameters
        ----------
        texts : list, tuple, NumPy array, pandas Series or any other sequence of str
            An empty text is ``""``. Of each, the first ``model.max_tokens`` tokens of the recipe are read, as in training. A single str,
            a set, a mapping and a table of columns are refused: what they would be walked through as is not texts in
            their order. An empty list gives an empty list.

        Returns
        -------
        list of Prediction
            One for each text, in order. Texts are independent: each answer is the one that it has alone.

        Raises
        ------
        ValueError
            Something else than texts, named with its place; half a character (an unpaired surrogate); a model of
            another task.
        fovea.DataError
            The model's probabilities are not finite: its weights are damaged.
        """
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
        """Continues a text (language models). Each token is drawn from softmax(logits / temperature), of which `top_k`,
        then `top_p` leave out unlikely tokens.

        Parameters
        ----------
        prompt : str
            What is continued; empty begins a new text.
        max_tokens : int
            At most so many tokens of the model's vocabulary; 256 is a page of words, or a few lines of characters.
            Fewer where the model ends its text.
        temperature : float >= 0
            The logits are divided by it. 1 keeps the model's own probabilities, less is bolder; 0 always takes the most
            likely token.
        top_k : int
            Only the k most likely tokens (Fan et al., 2018); 0, the default, keeps all.
        top_p : float in (0, 1]
            Only the most likely tokens that reach this probability together (Holtzman et al., 2020); 1, the default,
            keeps all.
        seed : int
            The same seed, prompt and model give the same text, whatever the number of threads.

        Returns
        -------
        str
            The continuation, without the prompt.

        Raises
        ------
        ValueError
            An argument is outside of its range, or the model is of another task.
        fovea.DataError
            The model's scores are not finite: its weights are damaged.
        """
        if not isinstance(prompt, str):
            fail(f"expected prompt as text, got {type(prompt).__name__}", "generate")
        if (half := _half_character(prompt)) is not None:
            fail(f"expected prompt as text, got half a character at offset {half}", "generate")
        with renamed("generate"):
            chosen = (
                options.integer("max_tokens", max_tokens, 0, 2**31),
                options.number("temperature", temperature, 0.0),
                options.integer("top_k", top_k, 0, 2**31),
                options.number("top_p", top_p, 0.0, 1.0 + 1e-9),
                options.integer("seed", seed, 0, 2**63 - 1),
            )
        return self._inner.generate(prompt, *chosen)

    def evaluate(
        self, file: str | os.PathLike[str] | Sequence[str], truths: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Figures on a table, or on texts and their classes, that the model has not seen.

        Parameters
        ----------
        file : path, or sequence of str
            CSV, TSV or JSON Lines with the training table's columns; with `truths`, the texts themselves, as of
            :meth:`predict`.
        truths : sequence of str, as many
            The class of each text; None, the default, where `file` is a path, whose table has them.

        Returns
        -------
        dict of str to float
            ``accuracy``, ``macro_f1`` and ``calibration_error`` as fractions of 1, ``log_loss`` in nats a text, as
            `fovea evaluate` prints them.

        Raises
        ------
        fovea.DataError
            The table cannot be read, or holds a class that the model does not know; the message names the line.
        ValueError
            The model is of another task; texts with another number of truths, or with a class that it does not know.
        """
        if truths is None:
            if not isinstance(file, (str, bytes, os.PathLike)):
                fail(f"expected a table's path, or texts with their truths, got {type(file).__name__} alone", "evaluate")
            return dict(self._inner.evaluate_file(_path("file", file, "evaluate")))
        texts, labels = _texts(file, "evaluate"), _texts(truths, "evaluate")
        if len(labels) != len(texts):
            fail(f"expected as many truths as texts, got {len(labels)} and {len(texts)}", "evaluate")
        return dict(self._inner.evaluate(texts, labels))

    def explain(self, texts: Sequence[str], truths: Sequence[str] | None = None) -> Explanation:
        """Reads each text, looks inside, and gives a page: the attention of every head, and how much each word raised or
        lowered the prediction.

        Parameters
        ----------
        texts : sequence of str
            As of :meth:`predict`.
        truths : sequence of str, as many
            The true labels, shown beside the predicted ones; None, or ``""`` for a text, where they are unknown.

        Returns
        -------
        Explanation

        Raises
        ------
        ValueError
            Something else than texts, or another number of truths.
        fovea.DataError
            A file of the model's folder is damaged.
        """
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

    Parameters
    ----------
    folder : path
        The model's folder (docs/formats/model.md).

    Returns
    -------
    Model

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
    model = Model(_fovea.Model.load(_path("folder", folder, "load")))
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
    recipe : path
        A TOML file (docs/formats/recipe.md).
    out : path
        The model's folder; default ``out/`` and the recipe's name, as for `fovea train`.
    set : dict of str to str, number, bool or list of these
        Values in place of the recipe's: ``{"model.layers": 2}``.
    resume : bool
        Continue what `out` holds, exactly where it stopped, with the same settings on the same data, to the same bits; a
        run that has finished is evaluated, or goes on where `set` gives it a larger ``train.epochs``.
    overwrite : bool
        Begin anew in `out`; the model there stays until the new one is whole. Without either a folder in use is
        refused, so that no model is lost by a repeated call.
    progress : callable
        Called after each step with a dictionary of stage, done, total, tokens, loss and message. What it raises stops
        the training. Ctrl-C stops between two steps, after a checkpoint is written.

    Returns
    -------
    Model
        As it is in `out`.

    Raises
    ------
    fovea.DataError
        The recipe or the data cannot be used (the message names file and line), another run is at work in `out`, or
        `resume` finds other data than the run began with.
    ValueError
        `out` is in use without `resume` or `overwrite`; with `resume`, there is nothing to continue, or a setting
        differs from the one that the run began with.
    """
    file = _path("recipe", recipe, "train")
    if set is not None and not isinstance(set, Mapping):
        fail(f"expected set as a dict of key: value, got {type(set).__name__}", "train")
    changes = [_setting(key, value) for key, value in (set or {}).items()]
    target = Path("out") / file.stem if out is None else _path("out", out, "train")
    with renamed("train"):
        chosen = options.flag("resume", resume), options.flag("overwrite", overwrite)
    if progress is not None and not callable(progress):
        fail(f"expected progress as a function of a dict, got {type(progress).__name__}", "train")
    return Model(_fovea.train(file, target, changes, *chosen, progress))


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
        if (half := _half_character(text)) is not None:
            fail(f"expected a list of texts, got half a character at {place}, offset {half}", call)
    return result


def _half_character(text: str) -> int | None:
    """Where one stands that UTF-8 cannot say, as half of a pair of UTF-16."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _setting(key: Any, value: Any) -> str:
    """A value of the recipe as `--set` has it."""
    if not isinstance(key, str) or _half_character(key) is not None:
        fail(f"expected set with keys such as 'model.layers', got {key!r:.40}", "train")
    text = _toml(value)
    if text is None:
        fail(f"expected set's {key} as text, a number, True or False, or a list of such, got {value!r:.40}", "train")
    return f"{key}={text}"


def _toml(value: Any) -> str | None:
    """The value in TOML; None for what TOML has no word for."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        items = [_toml(x) for x in value]
        return None if None in items else f"[{', '.join(map(str, items))}]"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or _half_character(value) is not None:
        return None
    return '"' + "".join(_ESCAPES.get(c, c) if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in value) + '"'


_ESCAPES = {"\\": "\\\\", '"': '\\"'}
