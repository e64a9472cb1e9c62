"""Python's locale set to Turkish, as programs do with locale.setlocale: the same bits as under none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trained import write_data

PROGRAM = """
import locale, sys
import numpy as np
import fovea

if sys.argv[2] != "C":
    locale.setlocale(locale.LC_ALL, sys.argv[2])
    assert locale.localeconv()["decimal_point"] == ","
fovea.set_num_threads(1)
settings = {"train.learning_rate": 0.0125, "tokenizer.kind": "bpe", "tokenizer.vocab_size": 90, "train.epochs": 2}
out = sys.argv[1] + "/" + sys.argv[2]
fovea.train(sys.argv[1] + "/recipe.toml", out=out, set=settings)
# 3 and 3.0 are one setting in any country.
model = fovea.train(out + "/recipe.toml", out=out, set={"train.epochs": 3, "train.weight_decay": 0}, resume=True)
model = fovea.load(out)
texts = ["SOME VIOLIN IN IT", "a small apple", "ISTANBUL, İstanbul, ılık"]
for p in model.predict(texts):
    print(p.label, [float(x).hex() for x in p.probabilities])
page = model.explain(texts).html()
print(len(page) > 1000, sorted(model.evaluate(sys.argv[1] + "/data.csv").items()))
q = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 8)).astype(np.float32)
print(fovea.attention(*q, scale=0.5, softcap=2.5).tobytes().hex())
"""


def test_training_and_reading_are_the_same_under_turkish(tmp_path):
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "tr_TR", "-f", "UTF-8", tmp_path / "tr_TR.UTF-8"], capture_output=True
    )
    if not made or made.returncode != 0:
        pytest.skip("localedef makes no tr_TR, so Turkish settings were not tested; install locales")
    write_data(tmp_path)
    with open(tmp_path / "recipe.toml", "a") as recipe:
        recipe.write("weight_decay = 0.0\n")
    printed = {}
    for name in ("C", "tr_TR.UTF-8"):
        environment = {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": name, "PYTHONUTF8": "1"}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path, name], capture_output=True, text=True, env=environment, encoding="utf-8"
        )
        assert run.returncode == 0, run.stderr
        printed[name] = run.stdout
    assert printed["C"] == printed["tr_TR.UTF-8"]
    for file in ("model.safetensors", "config.json", "tokenizer.json", "recipe.toml", "data.json"):
        a, b = (Path(tmp_path, name, file).read_bytes() for name in printed)
        assert a == b, file
