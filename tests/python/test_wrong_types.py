"""Every public name with arguments of wrong types: a ValueError or TypeError that says, in the package's own words, what
was expected and what was found. Never the words of what binds C++ to Python, nor of Python about its own insides."""

import inspect
import warnings

import numpy as np
import pytest
from trained import classifier

import fovea

ODD = [None, True, 3, -1, 2**70, 1.5, float("nan"), "x", "", b"x", [], [1], ["a", None], {}, {"a": 1}, object(), np.ones(3),
       np.ones((2, 2)), lambda: 0, fovea.BlockMask.causal(), fovea.KvCache(1, 4), range(3), "\ud800", ["\ud800"], [["a"]],
       (1, 2), set(), np.float32(2), "a\0b", np.array(["a"]), 3j]  # fmt: skip

FOREIGN = ("incompatible function", "nanobind", "nlohmann", "std::", "filesystem error", "basic_string", "vector::",
           "bad_cast", "not subscriptable", "has no len", "is not iterable", "unhashable", "truth value of an array",
           "has no attribute", "not supported between", "cannot be interpreted", "codec can't encode")  # fmt: skip

#: Methods without an underscore that the engine's calls use, and no user: they take what was checked.
INSIDE = {"BlockMask.masks", "BlockMask.for_call", "Override.for_call", "Rotary.turned", "Relative.for_call"}
#: Made by calls, never by users.
MADE = ("Explanation", "Gradients", "Insight", "Prediction", "SampledMass", "TopK")


class Sweep:
    def __init__(self, folder):
        self.model = classifier(folder)
        q = np.random.default_rng(0).normal(size=(1, 2, 5, 8)).astype(np.float32)
        out, seen = fovea.attention(q, q, q, observe=["entropy", "top_k:2", "key_mass"])
        cache = fovea.KvCache(2, 8)
        cache.append(q[0].transpose(1, 0, 2), q[0].transpose(1, 0, 2))
        self.right = dict(
            q=q, k=q, v=q, dout=q, x=q, caches=cache, folder=self.model.folder, texts=["a"], recipe=folder / "recipe.toml",
            file=folder / "data.csv", path=folder / "page.html", bitmap=np.ones((1, 1), bool), heads={0: "off"}, kv_heads=1,
            table=np.ones((5, 2), np.float32), width=4, parts=[(out, seen)], n=1, tokens=0, queries=[0], lq=3, lk=3,
        )  # fmt: skip
        self.out = folder / "out"  # in use, so that nothing is trained
        self.objects = {
            "Model": self.model,
            "Explanation": self.model.explain(["apple"]),
            "Insight": seen,
            "decoded": fovea.attention_decode(q[:, :, -1:], cache, observe=[])[1],
            "KvCache": cache,
            "BlockMask": fovea.BlockMask.causal(),
            "Rotary": fovea.Rotary(),
            "Override": fovea.Override({0: "off"}),
            "Relative": fovea.Relative(np.ones((5, 2), np.float32), "distances"),
            "Gradients": fovea.attention_vjp(q, q, q, q),
        }
        self.wrong = []
        self.refused = 0

    def attempt(self, label, function, *arguments, **keywords):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(*arguments, **keywords)
        except (ValueError, TypeError, fovea.DataError) as error:
            self.refused += 1
            text = str(error)
            if any(word in text for word in FOREIGN) or not ("expected" in text or "unknown key" in text):
                self.wrong.append(f"{label}: {type(error).__name__}: {text[:200]}")
        except Exception as error:  # an error of any other kind is one of ours
            self.wrong.append(f"{label}: {type(error).__name__}: {str(error)[:200]}")

    def every_argument(self, label, function):
        parameters = inspect.signature(function).parameters.values()
        required = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            for odd in ODD:
                arguments = {name: self.right.get(name, 1) for name in required}
                arguments[parameter.name] = odd
                if label == "fovea.train":
                    arguments.setdefault("out", self.out)
                    arguments.setdefault("overwrite", False)
                    if parameter.name in ("out", "overwrite", "resume") and odd is True:
                        continue  # a right value, and a run
                self.attempt(f"{label}({parameter.name}={odd!r:.60})", function, **arguments)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return Sweep(tmp_path_factory.mktemp("sweep"))


def test_functions_and_makers(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a path such as "x" is a right one
    threads = fovea.get_num_threads()
    sweep.wrong, sweep.refused = [], 0
    for name in fovea.__all__:
        if name not in (*MADE, "DataError"):
            sweep.every_argument(f"fovea.{name}", getattr(fovea, name))
    fovea.set_num_threads(threads)
    assert not sweep.wrong, "\n".join(sweep.wrong)
    assert sweep.refused > 1000


def test_methods(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep.wrong, sweep.refused = [], 0
    for kind, thing in sweep.objects.items():
        names = [name for name in dir(thing) if not name.startswith("_") and f"{kind}.{name}" not in INSIDE]
        for name in names:
            try:
                method = getattr(thing, name)
            except AttributeError:
                continue  # of an insight that was not asked for
            if callable(method) and f"{type(thing).__name__}.{name}" not in INSIDE:
                sweep.every_argument(f"{kind}.{name}", method)
    for odd in ODD:
        sweep.attempt(f"Rotary()({odd!r:.60})", sweep.objects["Rotary"], odd)
    assert not sweep.wrong, "\n".join(sweep.wrong)
    assert sweep.refused > 500


def test_messages_name_the_call_and_what_was_found(sweep):
    model = sweep.model
    for call, message in [
        (lambda: fovea.set_num_threads("2"), "[set_num_threads] expected n as an integer, got '2'"),
        (lambda: fovea.load("a\0b"), "[load] expected folder as a path, got one with a zero byte at 1"),
        (lambda: fovea.load("\ud800"), "[load] expected folder as a path, got half a character at offset 0"),
        (lambda: fovea.Model("out"), "[Model] expected what fovea.load or fovea.train makes, got str: call those"),
        (lambda: fovea.train("r.toml", set=["a"]), "[train] expected set as a dict of key: value, got list"),
        (lambda: fovea.train("r.toml", set={3: 1}), "[train] expected set with keys such as 'model.layers', got 3"),
        (
            lambda: fovea.train("r.toml", set={"seed": None}),
            "[train] expected set's seed as text, a number, True or False, or a list of such, got None",
        ),
        (lambda: fovea.train("r.toml", resume="yes"), "[train] expected resume as True or False, got 'yes'"),
        (lambda: fovea.train("r.toml", progress=3), "[train] expected progress as a function of a dict, got int"),
        (lambda: model.generate("\ud800"), "[generate] expected prompt as text, got half a character at offset 0"),
        (lambda: model.generate(seed="a"), "[generate] expected seed as an integer, got 'a'"),
        (lambda: model.evaluate(["a"]), "[evaluate] expected a table's path, or texts with their truths, got list alone"),
        (lambda: model.evaluate(["a"], ["b", "c"]), "[evaluate] expected as many truths as texts, got 2 and 1"),
        (lambda: model.evaluate(["a"], ["b"]), "[evaluate] expected one of the model's 3 classes, got \"b\" at 0"),
        (lambda: model.explain(3), "[explain] expected a list of texts, got int"),
    ]:
        with pytest.raises(ValueError) as found:
            call()
        assert str(found.value) == message


def test_evaluate_takes_a_file_or_texts(sweep):
    rows = [line.rsplit(",", 1) for line in (sweep.out.parent / "data.csv").read_text().splitlines()[1:]]
    texts, truths = [row[0] for row in rows], [row[1] for row in rows]
    assert sweep.model.evaluate(texts, truths) == sweep.model.evaluate(sweep.out.parent / "data.csv")
    assert sweep.model.evaluate(np.array(texts), tuple(truths))["accuracy"] > 0.9


def test_settings_reach_the_recipe_as_they_are(sweep, tmp_path):
    odd = tmp_path / 'a "quoted" \\ name.csv'
    odd.write_bytes((sweep.out.parent / "data.csv").read_bytes())
    settings = {"data.file": odd, "model.kind": "majority", "seed": np.int64(3), "tokenizer.lowercase": np.bool_(True)}
    fovea.train(sweep.out.parent / "recipe.toml", out=tmp_path / "out", set=settings)
    text = (tmp_path / "out" / "recipe.toml").read_text()
    assert "seed = 3" in text and "quoted" in text
