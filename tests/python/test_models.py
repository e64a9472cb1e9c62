"""Training, loading, predicting and explaining from Python."""

import json
import random
import shutil
import struct

import numpy as np
import pytest

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    rows = ["text,label"]
    draw = random.Random(7)
    for _ in range(400):
        label = draw.choice(sorted(TELLING))
        words = [draw.choice("the a of and it one small some".split()) for _ in range(5)]
        words[draw.randrange(5)] = TELLING[label]
        rows.append(f"{' '.join(words)},{label}")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.format(file=folder / "data.csv"))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    events = []
    model = fovea.train(folder / "recipe.toml", out=folder / "out", set={"seed": 3}, progress=events.append)
    return model, events


def test_training_tells_its_progress_and_gives_a_model(trained, folder):
    model, events = trained
    steps = [e for e in events if e["stage"] == "train"]
    assert steps and steps[-1]["loss"] < steps[0]["loss"] and steps[-1]["tokens"] > 0
    assert model.task == "text-classification" and model.kind == "attention"
    assert model.labels == ["fruit", "machine", "music"]
    assert model.parameter_count > 100 and model.folder == folder / "out"
    assert "text-classification" in repr(model)
    assert "seed = 3" in (folder / "out" / "recipe.toml").read_text()


def test_predictions_survive_loading(trained, folder):
    model, _ = trained
    loaded = fovea.load(str(folder / "out"))
    texts = ["the small apple", "one engine of it", "some violin", ""]
    for a, b in zip(model.predict(texts), loaded.predict(texts)):
        assert a.label == b.label and a.probabilities == b.probabilities
    labels = [p.label for p in loaded.predict(texts[:3])]
    assert labels == ["fruit", "machine", "music"]
    assert abs(sum(loaded.predict(["apple"])[0].probabilities) - 1) < 1e-5
    assert loaded.predict([]) == []
    assert loaded.evaluate(folder / "data.csv")["accuracy"] > 0.95


def test_explanations_are_one_offline_page(trained, tmp_path):
    model, _ = trained
    page = model.explain(["the small apple", "some violin"], ["fruit", "music"])
    page.save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text == page.html() and text.lower().startswith("<!doctype html>") and "apple" in text


def test_a_progress_callback_that_raises_stops_the_training(folder):
    def progress(event):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        fovea.train(folder / "recipe.toml", out=folder / "stopped", progress=progress)
    model = fovea.train(folder / "recipe.toml", out=folder / "stopped", resume=True)
    assert model.predict(["violin"])[0].label == "music"


def test_a_finished_run_resumes_to_its_model_and_is_held_to_its_settings(trained, folder):
    steps = []
    model = fovea.train(
        folder / "recipe.toml", out=folder / "out", set={"seed": 3}, resume=True, progress=steps.append
    )
    assert not steps and model.predict(["violin"])[0].label == "music"
    with pytest.raises(ValueError, match=r"train\.learning_rate = 3"):
        fovea.train(
            folder / "recipe.toml", out=folder / "out", set={"seed": 3, "train.learning_rate": 3}, resume=True
        )
    with pytest.raises(ValueError, match="does not exist"):
        fovea.train(folder / "recipe.toml", out=folder / "nothing", resume=True)


def test_damaged_and_unverified_folders_are_told(trained, tmp_path):
    model, _ = trained
    assert model.verified
    copy = tmp_path / "copy"
    shutil.copytree(model.folder, copy)
    (copy / "config.json").write_text((copy / "config.json").read_text().replace("fruit", "frujt"))
    with pytest.raises(fovea.DataError, match=r"config\.json.*damaged or edited"):
        fovea.load(copy)
    (copy / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="unverified"):
        assert not fovea.load(copy).verified


def test_a_second_run_into_a_folder_is_refused(folder):
    refused = []

    def progress(event):
        if not refused:
            with pytest.raises(fovea.DataError, match="no other run writes to"):
                fovea.train(folder / "recipe.toml", out=folder / "busy", overwrite=True)
            refused.append(event)

    fovea.train(folder / "recipe.toml", out=folder / "busy", progress=progress)
    assert refused


def test_bad_files_are_data_errors(folder, tmp_path):
    with pytest.raises(fovea.DataError, match="nowhere"):
        fovea.load(tmp_path / "nowhere")
    (tmp_path / "recipe.toml").write_text('task = "text-classification"\n[data\n')
    with pytest.raises(fovea.DataError, match=r"recipe\.toml:2"):
        fovea.train(tmp_path / "recipe.toml", out=tmp_path / "out")
    (tmp_path / "recipe.toml").write_text(RECIPE.format(file=folder / "data.csv") + "epoch = 3\n")
    with pytest.raises(fovea.DataError, match="epochs"):  # the nearest key is suggested
        fovea.train(tmp_path / "recipe.toml", out=tmp_path / "out")


def test_wrong_calls_are_value_errors(trained, folder):
    model, _ = trained
    with pytest.raises(ValueError, match=r"\[predict\] expected a list of texts, got str"):
        model.predict("apple")
    with pytest.raises(ValueError, match=r"got 3 \(int\) at 0"):
        model.predict([3])
    with pytest.raises(ValueError, match=r"\[explain\] expected as many truths as texts, got 1 and 2"):
        model.explain(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="expected"):
        model.generate("a")
    with pytest.raises(ValueError, match="expected folder as a path, got int"):
        fovea.load(3)
    with pytest.raises(ValueError, match="out"):
        fovea.train(folder / "recipe.toml", out=folder / "out")


def test_language_models_continue_texts(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefgh " * 400)
    (tmp_path / "recipe.toml").write_text(
        f"""task = "language-model"
data.file = "{tmp_path / "text.txt"}"
tokenizer.kind = "characters"
[model]
width = 32
layers = 1
heads = 2
context = 16
[train]
steps = 150
batch_tokens = 256
learning_rate = 0.01
"""
    )
    model = fovea.train(tmp_path / "recipe.toml", out=tmp_path / "out")
    assert model.generate("abc", max_tokens=5, temperature=0.0) == "defgh"
    assert model.generate("abc", max_tokens=9, seed=4) == model.generate("abc", max_tokens=9, seed=4)
    with pytest.raises(ValueError):
        model.labels


def spoil_weights(folder, bits):
    """Sets the first number of the first tensor; the file's own checksum goes, which a file need not have."""
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, numbers = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    header.pop("__metadata__")
    begin = min(x["data_offsets"][0] for x in header.values() if x["dtype"] == "F32")
    numbers[begin : begin + 4] = struct.pack("<I", bits)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    (folder / "manifest.json").unlink()


@pytest.mark.filterwarnings("ignore:.*unverified")
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000])
def test_weights_that_are_no_numbers_are_data_errors(trained, tmp_path, bits):
    model, _ = trained
    shutil.copytree(model.folder, tmp_path / "nan")
    spoil_weights(tmp_path / "nan", bits)
    with pytest.raises(fovea.DataError, match="expected finite weights, found -?(nan|inf) as number"):
        fovea.load(tmp_path / "nan").predict(["apple"])


@pytest.mark.filterwarnings("ignore:.*unverified")
def test_scores_that_overflow_are_data_errors(trained, tmp_path):
    model, _ = trained
    shutil.copytree(model.folder, tmp_path / "large")
    data = bytearray((tmp_path / "large" / "model.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__")
    numbers = np.frombuffer(data[8 + size :], np.float32).copy()
    numbers[np.abs(numbers) > 0] *= np.float32(1e37)  # finite each, and their products are not
    numbers = np.nan_to_num(numbers, posinf=3e38, neginf=-3e38)
    text = json.dumps(header).encode()
    (tmp_path / "large" / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + numbers.tobytes())
    (tmp_path / "large" / "manifest.json").unlink()
    large = fovea.load(tmp_path / "large")
    with pytest.raises(fovea.DataError, match="expected finite scores from the model"):
        large.predict(["the apple"])
    with pytest.raises(fovea.DataError, match="expected finite scores from the model"):
        large.explain(["the apple"])


@pytest.mark.filterwarnings("ignore:.*unverified")
def test_a_damaged_configuration_is_a_data_error_in_our_words(trained, tmp_path):
    model, _ = trained
    shutil.copytree(model.folder, tmp_path / "bad")
    (tmp_path / "bad" / "manifest.json").unlink()
    for file in ("config.json", "tokenizer.json"):
        good = json.loads((tmp_path / "bad" / file).read_text())
        for key in good:
            for value in (None, [], {}, -1, 1e300, "", 2**63):
                (tmp_path / "bad" / file).write_text(json.dumps({**good, key: value}))
                try:
                    fovea.load(tmp_path / "bad").predict(["apple"])
                except fovea.DataError as error:
                    assert file in str(error) or "model.safetensors" in str(error)
                    assert "expected" in str(error) and "json.exception" not in str(error), (key, value, error)
        (tmp_path / "bad" / file).write_text(json.dumps(good))
    with pytest.raises(fovea.DataError, match="File name too long"):
        fovea.load("a" * 5000)
