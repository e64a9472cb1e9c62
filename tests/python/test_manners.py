"""How people call a model and arrays, and in which processes: locales, threads, forks, columns of tables."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from trained import RECIPE, classifier, write_data

import fovea


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier(tmp_path_factory.mktemp("model"))


def test_texts_come_in_any_list(model):
    texts = ["some violin", "the apple"]
    expected = [p.probabilities for p in model.predict(texts)]
    for given in (tuple(texts), np.array(texts), np.array(texts, object), iter(texts), (x for x in texts)):
        assert [p.probabilities for p in model.predict(given)] == expected


class Column:
    """As a column of a table that pandas made."""

    ndim = 1

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


class Table(Column):
    ndim = 2
    columns = ("text", "label")


def test_what_is_no_list_of_texts_is_named_with_its_place(model):
    assert model.predict(Column(["some violin"]))[0].label == "music"
    for given, message in (
        ("some violin", r"got str; one text is \['some violin'\]"),
        (b"some violin", "got bytes"),
        ({"some violin": 1}, "got dict"),
        ({"some violin"}, "got set"),
        (Table(["text"]), "got Table; give one of its columns"),
        (np.array("some violin"), "got ndarray"),
        (np.array([["a", "b"]]), "got ndarray"),
        (["a", None], r"got None \(NoneType\) at 1; an empty text is ''"),
        (Column(["a", "b", float("nan")]), r"got nan \(float\) at 2"),
        (["a", b"b"], r"got b'b' \(bytes\) at 1"),
        (["a", "b\ud800"], "got half a character at 1, offset 1"),
        (None, "got NoneType"),
    ):
        for call in (model.predict, model.explain):
            with pytest.raises(ValueError, match=r"expected a list of texts, " + message):
                call(given)


def test_folders_are_paths_of_any_kind(model):
    folder = model.folder
    for given in (str(folder), os.fsencode(folder), Path(folder), os.path.relpath(folder)):
        assert fovea.load(given).labels == model.labels
    with pytest.raises(ValueError, match="expected folder as a path, got an empty text"):
        fovea.load("")


def test_numpy_masks_are_not_lost():
    q = np.ones((1, 2, 3, 4), np.float32)
    with pytest.raises(ValueError, match=r"expected q without NumPy's own mask, which would be lost"):
        fovea.attention(np.ma.masked_array(q, q > 0), q, q)


def test_threads_and_forks_share_the_engine(model):
    q = np.random.default_rng(0).normal(size=(2, 4, 300, 32)).astype(np.float32)
    expected = fovea.attention(q, q, q, causal=True)
    texts = ["some violin", "the apple"]
    said = [p.probabilities for p in model.predict(texts)]
    wrong = []

    def work():
        for _ in range(10):
            if not np.array_equal(fovea.attention(q, q, q, causal=True), expected):
                wrong.append("attention")
            if [p.probabilities for p in model.predict(texts)] != said:
                wrong.append("predict")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    code = (
        "import os, sys, numpy as np, fovea\n"
        "q = np.random.default_rng(0).normal(size=(2, 4, 300, 32)).astype(np.float32)\n"
        "out = fovea.attention(q, q, q)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if np.array_equal(fovea.attention(q, q, q), out) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120).returncode == 0


IN_LOCALE = """
import locale, sys
from pathlib import Path
import fovea
folder, name = Path(sys.argv[1]), sys.argv[2]
if name != "C":
    locale.setlocale(locale.LC_ALL, name)
    assert locale.localeconv()["decimal_point"] == ","
class Enough(Exception): pass
def stop(event):
    if event["stage"] == "train" and event["done"] >= 12: raise Enough
try: fovea.train(folder / "recipe.toml", out=folder / name, set={"train.learning_rate": 0.0123}, progress=stop)
except Enough: pass
model = fovea.train(folder / "recipe.toml", out=folder / name, set={"train.learning_rate": 0.0123}, resume=True)
print(model.predict(["SOME VIOLIN IN IT"])[0].probabilities, model.evaluate(folder / "data.csv"))
page = model.explain(["some violin"]).html()
locale.setlocale(locale.LC_ALL, "C")
print(model.explain(["some violin"]).html() == page)
q = __import__("numpy").ones((1, 1, 2, 8), "float32")
try: fovea.attention(q, q, q, softcap=-0.5)
except ValueError as error: print(error)
"""


def test_training_is_the_same_in_every_locale(tmp_path):
    """Decimal commas and Turkish capitals, which Python's locale.setlocale gives the whole process."""
    for name in ("tr_TR", "de_DE"):
        made = subprocess.run(["localedef", "-i", name, "-f", "UTF-8", str(tmp_path / f"{name}.UTF-8")], capture_output=True)
        if made.returncode != 0:
            pytest.skip("localedef makes no such locale, so others were not tested: install locales")
    write_data(tmp_path)
    recipe = RECIPE.format(file=tmp_path / "data.csv").replace('"words"', '"bpe"\ntokenizer.vocab_size = 1200')
    (tmp_path / "recipe.toml").write_text(recipe + "checkpoint_every = 5\nvalidate_every = 5\n")
    found = {}
    for name in ("C", "tr_TR.UTF-8", "de_DE.UTF-8"):
        done = subprocess.run(
            [sys.executable, "-c", IN_LOCALE, str(tmp_path), name],
            capture_output=True, text=True, timeout=300, env={**os.environ, "LOCPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        files = [(tmp_path / name / x).read_text() for x in ("config.json", "tokenizer.json")]
        assert done.stdout.splitlines()[1] == "True", name  # the page, by the same model in C's locale
        found[name] = done.stdout, files
    assert found["C"] == found["tr_TR.UTF-8"] == found["de_DE.UTF-8"]
