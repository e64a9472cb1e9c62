"""A small classifier for the tests."""

import random

import fovea

TELLING = {"fruit": "apple", "machine": "engine", "music": "violin"}
RECIPE = """task = "text-classification"
tokenizer.kind = "words"
[data]
file = "{file}"
[model]
width = 16
heads = 2
layers = 1
[train]
epochs = 6
batch_tokens = 100
learning_rate = 0.01
"""


def write_data(folder):
    rows = ["text,label"]
    draw = random.Random(7)
    for _ in range(400):
        label = draw.choice(sorted(TELLING))
        words = [draw.choice("the a of and it one small some".split()) for _ in range(5)]
        words[draw.randrange(5)] = TELLING[label]
        rows.append(f"{' '.join(words)},{label}")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.format(file=folder / "data.csv"))


def classifier(folder):
    write_data(folder)
    return fovea.train(folder / "recipe.toml", out=folder / "out")
