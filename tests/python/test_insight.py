"""What is seen, against the whole matrix of weights."""

import numpy as np
import pytest
import reference
from cases import normal

import fovea


@pytest.fixture
def watched():
    rng = np.random.default_rng(5)
    q, k, v = normal(rng, 2, 4, 33, 16), normal(rng, 2, 2, 40, 16), normal(rng, 2, 2, 40, 8)
    keywords = dict(causal=True, sinks=[0.5, -1, 0, 2])
    out, seen = fovea.attention(q, k, v, **keywords, observe=["entropy", "max", "key_mass", "top_k:5"])
    assert out.tobytes() == fovea.attention(q, k, v, **keywords).tobytes()
    ref = reference.attention(q, k, v, **keywords)
    return seen, ref, 2 * reference.tolerance(q, k, v, ref, 0.25)  # of weights, which are below 1 < max |v|


def test_statistics_are_those_of_the_weights(watched):
    seen, ref, bound = watched
    w = ref.weights
    sink = 1 - w.sum(-1)
    entropy = -(w * np.log(np.where(w > 0, w, 1))).sum(-1) - sink * np.log(sink)
    np.testing.assert_allclose(seen.entropy, entropy, rtol=0, atol=50 * bound)  # |d(p·log p)| <= log 41 · 40 keys · dp
    np.testing.assert_allclose(seen.max, w.max(-1), rtol=0, atol=bound)
    assert (np.take_along_axis(w, seen.max_key[..., None], -1)[..., 0] >= w.max(-1) - bound).all()
    np.testing.assert_allclose(seen.key_mass, w.sum(-2), rtol=0, atol=33 * bound)
    np.testing.assert_allclose(seen.top_k.weights, -np.sort(-w, axis=-1)[..., :5], rtol=0, atol=bound)
    np.testing.assert_allclose(
        np.take_along_axis(w, seen.top_k.indices, -1), seen.top_k.weights, rtol=0, atol=bound
    )


def test_rows_are_exact(watched):
    seen, ref, bound = watched
    rows = seen.rows([0, 17, -1])
    assert rows.shape == (2, 4, 3, 40)
    np.testing.assert_allclose(rows, ref.weights[:, :, [0, 17, 32]], rtol=0, atol=bound)
    assert (rows[:, :, 0, 8:] == 0).all()
    assert seen.rows([]).shape == (2, 4, 0, 40)
    with pytest.raises(ValueError, match=r"\[Insight.rows\] expected queries in \[-33, 33\), got 33"):
        seen.rows([33])
    with pytest.raises(ValueError, match="expected queries as a list of integers"):
        seen.rows([0.5])


def test_packed_rows_have_their_own_sequences_keys():
    q = normal(np.random.default_rng(6), 10, 2, 8)
    out, seen = fovea.attention(q, q, q, q_offsets=[0, 3, 10], observe=["key_mass"])
    first, last = seen.rows([2, 9])
    assert first.shape == (2, 3) and last.shape == (2, 7)
    np.testing.assert_allclose(first.sum(-1), 1, atol=1e-6)
    assert seen.key_mass.shape == (10, 2) and seen.lse.shape == (10, 2)


def test_what_was_not_asked_for_says_how_to_ask(watched):
    out, seen = fovea.attention(*(np.ones((3, 1, 1, 2, 4), np.float32)), observe=["max"])
    with pytest.raises(AttributeError, match=r"observe=\['entropy'\]"):
        seen.entropy
    with pytest.raises(AttributeError, match=r"observe=\['top_k:8'\]"):
        seen.top_k
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        seen.colour
    assert "max_key" in dir(seen) and "lse (1, 1, 2), max" in repr(seen)


def test_plots_show_heat_map_entropy_and_mass(watched, tmp_path):
    pytest.importorskip("matplotlib")
    seen, ref, _ = watched
    figure = seen.plot(batch=1, head=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["head 2", "entropy of the queries' weights", "mass that each key received"]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), ref.weights[1, 2], atol=1e-5)
    figure.savefig(tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 10_000
    assert seen.plot(max_size=8).axes[0].images[0].get_array().shape == (8, 40)
    with pytest.raises(ValueError, match=r"expected head in \[0, 3\], got 4"):
        seen.plot(head=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_observers_of_where_attention_goes(dtype):
    rng = np.random.default_rng(7)
    q, k, v = (normal(rng, *shape, dtype=dtype) for shape in ((2, 4, 70, 16), (2, 2, 90, 16), (2, 2, 90, 8)))
    sets = rng.integers(-1, 3, size=90)
    wishes = ["effective_keys", "distance", "first_key", "near:5,2", "block_mass"]
    out, seen = fovea.attention(q, k, v, causal=True, key_sets=sets, observe=[*wishes, "key_sets"])
    of_sets = np.stack([(reference.attention(q, k, v, causal=True).weights * (sets == s)).sum(-1) for s in range(3)], -1)
    np.testing.assert_allclose(seen.set_mass, of_sets, rtol=0, atol=1e-5)
    assert seen.distance.dtype == dtype
    assert out.tobytes() == fovea.attention(q, k, v, causal=True).tobytes()
    ref = reference.attention(q, k, v, causal=True)
    w, bound = ref.weights, 2 * reference.tolerance(q, k, v, ref, 0.25)
    i, j = reference.places(70, 90)
    np.testing.assert_allclose(seen.effective_keys, 1 / (w**2).sum(-1), rtol=90 * bound)
    np.testing.assert_allclose(seen.distance, (w * abs(i - j)).sum(-1), rtol=0, atol=90 * bound)
    np.testing.assert_allclose(seen.first_key_mass, w[..., 0], rtol=0, atol=bound)
    near = (j >= i - 5) & (j <= i + 2)
    np.testing.assert_allclose(seen.near_mass, (w * near).sum(-1), rtol=0, atol=8 * bound)
    padded = np.pad(w, ((0, 0), (0, 0), (0, 58), (0, 38))).reshape(2, 4, 2, 64, 2, 64).sum((3, 5))
    np.testing.assert_allclose(seen.block_mass, padded, rtol=0, atol=64 * 64 * bound)


def test_packed_block_masses_are_a_map_for_each_sequence():
    q = normal(np.random.default_rng(8), 170, 2, 8)
    _, seen = fovea.attention(q, q, q, q_offsets=[0, 70, 70, 170], observe=["block_mass", "near:0,0"])
    assert [m.shape for m in seen.block_mass] == [(2, 2, 2), (2, 0, 0), (2, 2, 2)]
    np.testing.assert_allclose(seen.block_mass[2].sum(axis=(1, 2)), 100, rtol=1e-5)
    assert seen.near_mass.shape == (170, 2)


@pytest.mark.parametrize("wish", ["near:1", "near:a,b", "near:-1,2", "near", "distance:3", "top_k:", "top_k:1,2"])
def test_misspelt_observers_are_named(wish):
    q = np.ones((1, 1, 2, 4), np.float32)
    with pytest.raises(ValueError, match=r"\[attention\] expected observe's"):
        fovea.attention(q, q, q, observe=[wish])


def test_plots_say_what_does_not_fit():
    q = np.ones((2, 3, 4, 8), np.float32)
    _, seen = fovea.attention(q, q, q, observe=[])
    for keywords, text in (
        (dict(batch=2), "batch in [0, 1], got 2"),
        (dict(batch=-1), "batch in [0, 1], got -1"),
        (dict(head=3), "head in [0, 2], got 3"),
        (dict(head="a"), "head as an integer, got 'a'"),
        (dict(max_size=0), "max_size in [1, 2147483648], got 0"),
    ):
        with pytest.raises(ValueError) as caught:
            seen.plot(**keywords)
        assert str(caught.value) == f"[Insight.plot] expected {text}"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_effective_keys_stay_finite_where_a_sink_takes_nearly_all(dtype):
    q, k = np.zeros((1, 1, 3, 8), dtype), np.zeros((1, 1, 150, 8), dtype)
    for sink in (0, 40, 50, 60, 65):  # weights down to 2^-100
        _, seen = fovea.attention(q, k, k, sinks=[float(sink)], observe=["effective_keys"])
        np.testing.assert_allclose(seen.effective_keys, 150, rtol=1e-4)  # the 150 equal weights, in float32
    _, seen = fovea.attention(q, k, k, sinks=[120.0], observe=["effective_keys"])  # 2^-173: none
    assert (seen.effective_keys == 0).all()
