"""Signals at any moment: the bits stay, and Ctrl-C raises KeyboardInterrupt."""

import contextlib
import os
import signal
import threading

import numpy as np
import pytest

import fovea

RECIPE = """task = "text-classification"
tokenizer.kind = "words"
[data]
file = "{file}"
[model]
width = 32
heads = 2
layers = 2
[train]
epochs = {epochs}
batch_tokens = 200
"""


@contextlib.contextmanager
def storm(interval=0.0005):
    """A list that grows with each signal that Python's handler saw."""
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(None))
    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    try:
        yield seen
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    rows = [f"the {'red apple' if i % 2 else 'grey stone'} number {i},{'fruit' if i % 2 else 'rock'}" for i in range(600)]
    (folder / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")

    def write(epochs):
        path = folder / f"recipe{epochs}.toml"
        path.write_text(RECIPE.format(file=folder / "data.csv", epochs=epochs))
        return path

    return write


def test_training_and_predicting_in_a_storm_give_the_same_bits(recipe, tmp_path):
    texts = ["a red apple", "a grey stone", "number"] * 50
    calm = fovea.train(recipe(6), out=tmp_path / "calm")
    wanted = [p.probabilities for p in calm.predict(texts)]
    with storm() as seen:
        model = fovea.train(recipe(6), out=tmp_path / "storm")
        for _ in range(200):
            if len(seen) >= 100:
                break
            assert [p.probabilities for p in model.predict(texts)] == wanted
    assert len(seen) >= 20
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("calm", "storm")]
    assert weights[0] == weights[1]


def test_attention_in_a_storm_gives_the_same_bits():
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(1)
    q, k, v = (torch.tensor(draw.standard_normal((2, 4, 300, 64)), dtype=torch.float32, requires_grad=True) for _ in range(3))

    def both():
        out = fovea.attention(q, k, v, causal=True)
        return [out.detach()] + [g for g in torch.autograd.grad(out.square().sum(), (q, k, v))]

    calm = both()
    with storm() as seen:
        for _ in range(2000):
            if len(seen) >= 500:
                break
            for got, want in zip(both(), calm):
                assert torch.equal(got, want)
    assert len(seen) >= 500


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4, 0.7])
def test_ctrl_c_stops_training_and_it_goes_on(recipe, tmp_path, delay):
    began = threading.Event()

    def interrupt():
        began.wait(60)
        threading.Event().wait(delay)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        fovea.train(recipe(3000), out=tmp_path / "out", progress=lambda _: began.set())
    thread.join()
    events = []

    def stop(event):
        events.append(event)
        raise KeyError("enough")

    with pytest.raises(KeyError):
        fovea.train(recipe(3000), out=tmp_path / "out", resume=True, progress=stop)
    assert events[0]["done"] > 0
