"""What users keep or send to other processes: pickles and copies."""

import copy
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from trained import classifier

import fovea

AGAIN = [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("again", AGAIN)
def test_insights_keep_their_rows(again):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 2, 9, 8)).astype(np.float32) for _ in range(3))
    for keywords in (
        dict(causal=True, sinks=[0.0, 1.0], mask=np.tril(np.ones((9, 9), bool))),
        dict(blocks=fovea.BlockMask.window(2, 2), rotary=fovea.Rotary(), bias=rng.normal(size=(9, 9))),
        dict(override=fovea.Override({1: "uniform"}), alibi=[1.0, 2.0]),
    ):
        _, seen = fovea.attention(q, k, v, **keywords, observe=["entropy", "top_k:2", "block_mass", "key_mass"])
        other = again(seen)
        assert np.array_equal(other.rows([1, -1]), seen.rows([1, -1]))
        assert np.array_equal(other.entropy, seen.entropy) and np.array_equal(other.top_k.indices, seen.top_k.indices)
        assert np.array_equal(other.block_mass, seen.block_mass) and repr(other) == repr(seen)
        if "override" not in keywords:
            assert np.array_equal(other.sampled_key_mass(4).mass, seen.sampled_key_mass(4).mass)


def test_insights_of_other_kinds_and_of_parts():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(1, 2, 9, 8)).astype(np.float32)
    _, seen = fovea.merge([fovea.attention(q, q[:, :, s], q[:, :, s], observe=[]) for s in (slice(4), slice(4, 9))])
    assert np.array_equal(pickle.loads(pickle.dumps(seen)).rows([2]), seen.rows([2]))
    cache = fovea.KvCache(2, 8)
    cache.append(q, q)
    _, seen = fovea.attention_decode(q[:, :, :1], cache, observe=["entropy"])
    with pytest.raises(TypeError, match="cannot pickle or copy an Insight of caches"):
        pickle.dumps(seen)
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        t = torch.from_numpy(q).to(dtype).requires_grad_()
        _, seen = fovea.attention(t, t, t, bias=torch.ones(9, 9, requires_grad=True).exp().to(dtype), observe=["max"])
        other = pickle.loads(pickle.dumps(seen))
        assert torch.equal(other.rows([3]), seen.rows([3])) and torch.equal(other.max, seen.max)


@pytest.mark.parametrize("again", AGAIN)
def test_gradients_patterns_and_predictions(again, model):
    q = np.ones((1, 2, 5, 8), np.float32)
    grads = fovea.attention_vjp(q, q, q, q, sinks=[0.0, 1.0])
    assert np.array_equal(again(grads).dsinks, grads.dsinks)
    relative = again(fovea.Relative(np.ones((3, 2)), "distances"))
    assert relative.kind == "distances" and np.array_equal(relative.table, np.ones((3, 2)))
    prediction = model.predict(["some violin"])[0]
    assert vars(again(prediction)) == vars(prediction)
    page = model.explain(["some violin"])
    assert again(page).html() == page.html()


def test_a_pickled_page_saves_itself(model, tmp_path):
    page = pickle.loads(pickle.dumps(model.explain(["some violin"])))
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.html()
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(fovea.DataError, match="nowhere"):
        page.save(tmp_path / "nowhere" / "page.html")


ELSEWHERE = """
import pickle, sys
from pathlib import Path
model = pickle.loads(sys.stdin.buffer.read())
folder = model.folder
print(model.predict(["some violin"])[0].probabilities, folder.exists())
model = pickle.loads(pickle.dumps(model))
print(model.predict(["some violin"])[0].label, folder.exists())
"""


def test_a_model_travels_without_its_folder(model, tmp_path):
    shutil.copytree(model.folder, tmp_path / "moved")
    loaded = fovea.load(tmp_path / "moved")
    data = pickle.dumps(loaded)
    assert copy.copy(loaded) is loaded and copy.deepcopy([loaded])[0] is loaded
    shutil.rmtree(tmp_path / "moved")
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=data, capture_output=True, timeout=120)
    expected = loaded.predict(["some violin"])[0]
    assert done.stdout.decode().splitlines() == [f"{expected.probabilities} True", "music False"], done.stderr


def test_a_model_whose_folder_changed_is_not_pickled_as_another(model, tmp_path):
    shutil.copytree(model.folder, tmp_path / "changed")
    loaded = fovea.load(tmp_path / "changed")
    with (tmp_path / "changed" / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"\[Model\] expected the folder .*changed.* model\.safetensors changed since"):
        pickle.dumps(loaded)
    shutil.rmtree(tmp_path / "changed")
    with pytest.raises(ValueError, match="load it again"):
        pickle.dumps(loaded)


def test_processes_that_start_anew_take_models(model):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(model.predict)([text]) for text in ("some violin", "one engine"))
    assert [x[0].label for x in found] == ["music", "machine"]
