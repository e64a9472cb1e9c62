"""The forward call against float64 NumPy."""

import importlib.util
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import reference
from cases import normal, random_case

import fovea


@pytest.mark.parametrize("block", range(20))
def test_random_calls_equal_the_definition(block):
    for seed in range(block * 20, block * 20 + 20):
        case = random_case(seed)
        out, seen = fovea.attention(case.q, case.k, case.v, **case.keywords, observe=[])
        ref = reference.attention(case.q, case.k, case.v, **case.keywords)
        bound = reference.tolerance(case.q, case.k, case.v, ref, case.scale)
        np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound, err_msg=f"seed {seed} {case.keywords}")
        scores = np.abs(ref.scores).max(initial=1)
        width = bound / max(np.abs(case.v).max(), 1e-3) + 8 * reference.EPS32 * scores
        np.testing.assert_allclose(seen.lse, ref.lse, rtol=0, atol=width, err_msg=f"seed {seed} {case.keywords}")


@pytest.mark.parametrize("block", range(10))
def test_random_calls_equal_the_onnx_operator(block):
    for seed in range(block * 10, block * 10 + 10):
        rng = np.random.default_rng(seed)
        heads, group, length, d = int(rng.integers(1, 3)), int(rng.integers(1, 4)), int(rng.integers(1, 70)), 16
        q = normal(rng, 2, heads * group, length, d)
        k, v = normal(rng, 2, heads, length, d), normal(rng, 2, heads, length, 8)
        causal, softcap = bool(rng.integers(2)), float(rng.choice([0.0, 2.5]))
        scale = None if rng.random() < 0.5 else 0.3
        which = rng.integers(3)
        shape = [(length, length), (2, 1, length, length), (heads * group, 1, length)][rng.integers(3)]
        given = rng.random(shape) < 0.8 if which == 1 else normal(rng, *shape)
        masks = [{}, {"mask": given}, {"bias": given}][which]
        if which == 1:
            given[..., 0] = True  # a row without keys is NaN there, and 0 here
        out = fovea.attention(q, k, v, causal=causal, softcap=softcap, scale=scale, **masks)
        expected = reference.onnx_attention(
            q, k, v, given if masks else None, is_causal=causal, softcap=softcap, scale=scale
        )
        ref = reference.attention(q, k, v, causal=causal, softcap=softcap, scale=scale, **masks)
        np.testing.assert_allclose(
            out, expected, rtol=0, atol=reference.tolerance(q, k, v, ref, scale or d**-0.5), err_msg=f"seed {seed}"
        )


@pytest.mark.parametrize("seed", range(40))
def test_packed_equals_one_by_one_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.choice([0, 1, 3, 8, 17, 33, 64, 65], size=(2, 5))
    q_offsets, k_offsets = (np.concatenate([[0], np.cumsum(n)]) for n in lengths)
    q = normal(rng, int(q_offsets[-1]), 4, 16)
    k, v = normal(rng, int(k_offsets[-1]), 2, 16), normal(rng, int(k_offsets[-1]), 2, 24)
    keywords = dict(causal=bool(rng.integers(2)), window=(20, -1) if rng.integers(2) else None)
    observe = ["entropy", "max", "key_mass", "top_k:3"]
    out, seen = fovea.attention(q, k, v, q_offsets=q_offsets, k_offsets=k_offsets, observe=observe, **keywords)
    for n in range(5):
        a, b = slice(*q_offsets[n : n + 2]), slice(*k_offsets[n : n + 2])
        alone, inside = fovea.attention(q[a], k[b], v[b], observe=observe, **keywords)
        assert alone.tobytes() == out[a].tobytes()
        assert inside.entropy.tobytes() == seen.entropy[a].tobytes()
        assert inside.key_mass.tobytes() == seen.key_mass[b].tobytes()
        assert (inside.top_k.indices == seen.top_k.indices[a]).all()


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(1)
    q, k, v = (normal(rng, 2, 4, 300, 32) for _ in range(3))
    before = fovea.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            fovea.set_num_threads(threads)
            assert fovea.get_num_threads() == threads
            results.append(fovea.attention(q, k, v, causal=True, dropout=0.25, seed=7).tobytes())
            results.append(fovea.attention_vjp(q, k, v, v, causal=True).dk.tobytes())
    finally:
        fovea.set_num_threads(before)
    assert results[0::2] == results[:1] * 4
    assert results[1::2] == results[1:2] * 4


@pytest.mark.parametrize("width, value", [(96, 512), (127, 65), (128, 128), (160, 1), (256, 192), (257, 255), (512, 80), (1, 1024)])
def test_heads_may_be_wide(width, value):
    rng = np.random.default_rng(width)
    q, k, v = normal(rng, 1, 2, 37, width), normal(rng, 1, 1, 70, width), normal(rng, 1, 1, 70, value)
    ref = reference.attention(q, k, v, causal=True)
    bound = reference.tolerance(q, k, v, ref, width**-0.5)
    out, seen = fovea.attention(q, k, v, causal=True, observe=["key_mass"])
    np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound)
    np.testing.assert_allclose(seen.key_mass, ref.weights.sum(-2), rtol=0, atol=37 * bound)
    dout = normal(rng, *out.shape)
    grads = fovea.attention_vjp(q, k, v, dout, causal=True)
    exact = fovea.attention_vjp(*(x.astype(np.float64) for x in (q, k, v, dout)), causal=True)
    for name, want in vars(exact).items():
        # Sums over 37 queries or 70 keys of w·(dP − δ), dP a sum of Dv products that each lose a rounding.
        size = 70 * value * np.abs(dout).max() * np.abs(v).max() * max(1, np.abs(q).max())
        np.testing.assert_allclose(getattr(grads, name), want, rtol=0, atol=reference.EPS32 * size, err_msg=name)
    cache = fovea.KvCache(1, width, value)
    cache.append(k, v)
    np.testing.assert_allclose(fovea.attention_decode(q, cache), out, rtol=0, atol=2 * bound)


def test_strides_do_not_change_a_bit():
    rng = np.random.default_rng(2)
    q, k, v = (normal(rng, 3, 4, 40, 16) for _ in range(3))
    expected = fovea.attention(q, k, v, causal=True)
    interleaved = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for x in (q, k, v)]
    columns = [np.concatenate([x, x, x], axis=-1)[..., 16:32] for x in (q, k, v)]
    reversed_twice = [np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1] for x in (q, k, v)]
    fortran = [np.asfortranarray(x) for x in (q, k, v)]
    swapped = [x.astype(">f4") for x in (q, k, v)]
    for given in (interleaved, columns, reversed_twice, fortran, swapped):
        assert fovea.attention(*given, causal=True).tobytes() == expected.tobytes()
    one = [np.broadcast_to(x[:1], x.shape) for x in (q, k, v)]
    assert fovea.attention(*one).tobytes() == fovea.attention(*(x.copy() for x in one)).tobytes()


def test_the_output_lies_in_memory_as_the_queries_do():
    rng = np.random.default_rng(3)
    q = normal(rng, 2, 4, 10, 8)
    assert fovea.attention(q, q, q).shape == (2, 4, 10, 8)
    interleaved = np.ascontiguousarray(q.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    assert fovea.attention(interleaved, q, q).transpose(0, 2, 1, 3).flags.c_contiguous


def test_dropout_keeps_the_mean_and_depends_on_the_seed():
    q = np.zeros((1, 1, 64, 8), np.float32)
    v = np.ones((1, 1, 400, 8), np.float32)
    k = np.zeros((1, 1, 400, 8), np.float32)
    one = fovea.attention(q, k, v, dropout=0.5, seed=1)
    assert (one == fovea.attention(q, k, v, dropout=0.5, seed=1)).all()
    assert (one != fovea.attention(q, k, v, dropout=0.5, seed=2)).any()
    # Each row is twice the share of 400 weights that stay: standard deviation 1/√400; 64 rows, 5 deviations.
    assert abs(one.mean() - 1) < 5 / np.sqrt(400 * 64)


def test_queries_without_keys_give_zero():
    q = np.ones((1, 2, 3, 4), np.float32)
    k = np.ones((1, 2, 0, 4), np.float32)
    out, seen = fovea.attention(q, k, k, observe=["entropy", "max"])
    assert (out == 0).all() and (seen.lse == -np.inf).all() and (seen.entropy == 0).all()
    out, seen = fovea.attention(q, k, k, sinks=[1.5, -2.0], observe=[])
    assert (out == 0).all() and (seen.lse == np.array([1.5, -2.0], np.float32)[:, None]).all()
    assert fovea.attention(q[:0], k[:0], k[:0]).shape == (0, 2, 3, 4)
    assert fovea.attention(q[:, :, :0], q, q).shape == (1, 2, 0, 4)


@pytest.mark.parametrize("precision, bits", [("high", 16), ("fast", 8)])
def test_lower_precision_is_as_near_as_it_says(precision, bits):
    for seed in range(20):
        case = random_case(6000 + seed)
        out = fovea.attention(case.q, case.k, case.v, **case.keywords, precision=precision)
        ref = reference.attention(case.q, case.k, case.v, **case.keywords)
        # Factors rounded to so many bits, weights and values too.
        bound = reference.tolerance(case.q, case.k, case.v, ref, case.scale, eps=2.0**-bits)
        np.testing.assert_allclose(out, ref.out, rtol=0, atol=bound, err_msg=f"seed {seed} {case.keywords}")
        assert out.tobytes() == fovea.attention(case.q, case.k, case.v, **case.keywords, precision=precision).tobytes()


def test_elements_are_read_where_they_lie():
    from fovea._kinds import aligned, from_numpy, to_numpy

    x = normal(np.random.default_rng(4), 2, 30, 4, 8)
    for view in (x, x.transpose(0, 2, 1, 3), x[..., :5], x[:, ::2], np.broadcast_to(x[:, :1], x.shape)):
        assert aligned(to_numpy(view, "x")) is view
    for copied in (x[..., ::-1], x[..., ::2], x.transpose(0, 1, 3, 2), x[:, ::-1]):
        assert not np.shares_memory(aligned(copied), x)
    for kind in ("torch", "jax"):
        if kind in sys.modules or importlib.util.find_spec(kind):
            importlib.import_module(kind)
            there = from_numpy(x, kind)
            back = to_numpy(there, "x")
            if kind == "torch":  # JAX may copy what is not aligned to 64 bytes
                assert there.data_ptr() == x.ctypes.data
            assert back.ctypes.data == (there.data_ptr() if kind == "torch" else there.unsafe_buffer_pointer())


def test_other_threads_of_python_run_meanwhile():
    q = normal(np.random.default_rng(5), 1, 4, 400, 64, dtype=np.float64)
    ticks, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = ticks[0]
        start = time.perf_counter()
        fovea.attention(q, q, q)
        seconds = time.perf_counter() - start
        during = ticks[0] - before
    finally:
        stop.set()
        thread.join()
    assert during >= min(3, seconds / 0.02), (during, seconds)


@pytest.mark.parametrize("name", ["alibi", "sinks", "scale", "relative", "key_sets", "bias"])
def test_arrays_of_any_strides_are_read_rightly(name):
    rng = np.random.default_rng(0)
    q, k, v = (normal(rng, 2, 4, 9, 8) for _ in range(3))
    many = rng.integers(0, 5, size=18) if name == "key_sets" else normal(rng, 18)
    forms = [many[::2], many[8::-1], np.broadcast_to(many[:1], (9,))]

    def call(x):
        if name == "key_sets":
            return fovea.attention(q, k, v, key_sets=x, observe=["key_sets"])[1].set_mass
        if name == "relative":
            return fovea.attention(q, k, v, relative=fovea.Relative(np.broadcast_to(x[:5, None], (5, 4)), "distances"))
        return fovea.attention(q, k, v, **{name: x if name == "bias" else x[:4]})

    for x in forms:
        assert call(x).tobytes() == call(np.array(x)).tobytes()


@pytest.mark.filterwarnings("ignore:.*fork")  # of JAX, where another test has imported it
def test_a_forked_process_computes_the_same():
    q = np.ones((4, 8, 64, 64), np.float32)
    expected = fovea.attention(q, q, q).tobytes()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a pool whose threads stayed behind would wait for ever
        os._exit(0 if fovea.attention(q, q, q).tobytes() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
