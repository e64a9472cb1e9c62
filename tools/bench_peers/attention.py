#!/usr/bin/env python3
"""Times attention of PyTorch and of Fovea in turns, in one process, and prints rates and ratios.

    .venv/bin/python tools/bench_peers/attention.py [--threads N] [--seconds S] [--only TABLE ...]

Each line checks Fovea's result against PyTorch's before anything is timed, then runs the two one after the other until
S seconds are used; figures are medians (minimum in brackets). GFLOP/s count 4·L²·D a head, half of it when causal, 2.5
times as much for backward.
"""
import argparse
import math
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

import fovea

SDPA = F.scaled_dot_product_attention


def in_turns(functions, seconds):
    """Medians and minima, in seconds, of functions that run one after the other."""
    times = [[] for _ in functions]
    for function in functions:
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for function, values in zip(functions, times):
            start = time.perf_counter()
            function()
            values.append(time.perf_counter() - start)
    return [(statistics.median(values), min(values)) for values in times]


def heads(batch, count, length, width, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, count, length, width, generator=generator).to(dtype) for _ in range(3)]


def check(ours, theirs, name):
    error = (ours.double() - theirs.double()).abs().max().item()
    bound = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 4e-3}[ours.dtype]
    if not error <= bound:
        raise SystemExit(f"{name}: expected results within {bound} of PyTorch's, found {error}")


def forward_backward(function, tensors, dout):
    leaves = [x.detach().requires_grad_() for x in tensors]
    torch.autograd.backward(function(*leaves), dout)
    return leaves


def dense(name, shapes, seconds):
    print(f"\n### {name}\n")
    print("| shape | type | | forward: PyTorch | Fovea | ratio | forward + backward: PyTorch | Fovea | ratio |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for dtype in (torch.float32, torch.bfloat16):
        for batch, count, length, width in shapes:
            tensors = heads(batch, count, length, width, dtype)
            dout = torch.randn_like(tensors[0])
            for causal in (False, True):
                label = f"{batch} × {count} × {length}, D {width}"
                peer = lambda q, k, v: SDPA(q, k, v, is_causal=causal)
                ours = lambda q, k, v: fovea.attention(q, k, v, causal=causal)
                check(ours(*tensors), peer(*tensors), label)
                work = 4e-9 * batch * count * length * length * width * (0.5 if causal else 1)
                one = in_turns([lambda: peer(*tensors), lambda: ours(*tensors)], seconds)
                both = in_turns([lambda: forward_backward(peer, tensors, dout),
                                 lambda: forward_backward(ours, tensors, dout)], seconds)
                rate = lambda t, factor: f"{factor * work / t[0]:.0f} ({factor * work / t[1]:.0f})"
                print(f"| {label} | {'f32' if dtype == torch.float32 else 'bf16'} | {'causal' if causal else 'dense'} | "
                      f"{rate(one[0], 1)} | {rate(one[1], 1)} | {one[0][0] / one[1][0]:.2f} | "
                      f"{rate(both[0], 3.5)} | {rate(both[1], 3.5)} | {both[0][0] / both[1][0]:.2f} |", flush=True)


def few(seconds):
    print("\n### A few queries on keys in plain arrays, as models generate; ms, median (best)\n")
    print("| queries × keys, heads | type | PyTorch | Fovea | ratio |")
    print("|---|---|---|---|---|", flush=True)
    for batch, count, key_heads, queries, keys, width in (
        (1, 32, 8, 1, 4096, 128), (1, 32, 32, 1, 4096, 128), (8, 8, 8, 1, 512, 64), (1, 32, 8, 4, 4096, 128),
    ):  # fmt: skip
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            generator = torch.Generator().manual_seed(0)
            sizes = ((count, queries), (key_heads, keys), (key_heads, keys))
            q, k, v = (torch.randn(batch, h, n, width, generator=generator).to(dtype) for h, n in sizes)
            theirs = lambda: SDPA(q, k, v, enable_gqa=True)
            ours = lambda: fovea.torch.scaled_dot_product_attention(q, k, v, enable_gqa=True)
            label = f"{batch} × {queries} × {keys}, {count} on {key_heads}, D {width}"
            with torch.no_grad():
                check(ours(), theirs(), label)
                a, b = in_turns([theirs, ours], seconds)
            name = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[dtype]
            print(f"| {label} | {name} | {a[0] * 1e3:.2f} ({a[1] * 1e3:.2f}) | {b[0] * 1e3:.2f} ({b[1] * 1e3:.2f}) | "
                  f"{a[0] / b[0]:.2f} |", flush=True)


def ragged(seconds):
    """Lengths log-uniform in 16…2,048, packed, against a padding mask and against a loop."""
    print("\n### Ragged batch, 16 sequences of 16 to 2,048 tokens (log-uniform), 8 heads, D 64, f32; ms\n")
    print("| work | padding mask | loop | Fovea, packed | mask / Fovea | loop / Fovea |")
    print("|---|---|---|---|---|---|", flush=True)
    count, width = 8, 64
    lengths = np.exp(np.random.default_rng(1).uniform(math.log(16), math.log(2048), 16)).astype(int)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    packed = [x[0].transpose(0, 1).contiguous() for x in heads(1, count, int(offsets[-1]), width, torch.float32)]
    longest = int(lengths.max())
    present = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    mask = present[:, None, None, :]

    def padded(x):
        out = torch.zeros(len(lengths), longest, count, width)
        out[present] = x
        return out.transpose(1, 2)

    def looped(q, k, v):
        parts = [SDPA(*(x[a:b].transpose(0, 1)[None] for x in (q, k, v)))[0].transpose(0, 1)
                 for a, b in zip(offsets[:-1], offsets[1:])]
        return torch.cat(parts)

    ours = lambda q, k, v: fovea.attention(q, k, v, q_offsets=offsets)
    peer = lambda q, k, v: SDPA(q, k, v, attn_mask=mask)
    wide = [padded(x) for x in packed]
    check(ours(*packed), peer(*wide).transpose(1, 2)[present], "ragged, masked")
    check(ours(*packed), looped(*packed), "ragged, looped")
    dout, wide_dout = torch.ones_like(packed[0]), padded(torch.ones_like(packed[0]))
    for name, functions in (
            ("forward", [lambda: peer(*wide), lambda: looped(*packed), lambda: ours(*packed)]),
            ("forward + backward", [lambda: forward_backward(peer, wide, wide_dout),
                                    lambda: forward_backward(looped, packed, dout),
                                    lambda: forward_backward(ours, packed, dout)])):
        times = [1e3 * t[0] for t in in_turns(functions, 3 * seconds)]
        print(f"| {name} | {times[0]:.1f} | {times[1]:.1f} | {times[2]:.1f} | {times[0] / times[2]:.2f} | "
              f"{times[1] / times[2]:.2f} |", flush=True)


def flex_calls(cases, tensors):
    """FlexAttention compiled for each pattern, forward only (PyTorch 2.13 has no backward of it on a CPU); None with the
    reason where this machine cannot compile it."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length, calls = tensors[0].shape[2], []
    try:
        compiled = torch.compile(flex_attention, dynamic=False)
        for _, _, mask, rule in cases:
            blocks = create_block_mask(rule, None, None, length, length, device="cpu", BLOCK_SIZE=64)
            call = lambda q, k, v, blocks=blocks: compiled(q, k, v, block_mask=blocks)
            check(call(*tensors), SDPA(*tensors, attn_mask=mask), "FlexAttention")
            calls.append(call)
    except Exception as error:  # a compiler that is missing, or what it does not support: many types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        print(f"FlexAttention is left out: {type(error).__name__}: {reason[:300]}\n", flush=True)
        return None
    return calls


def patterns(seconds):
    print("\n### Sparse patterns against PyTorch with a boolean mask, 2 heads, 8,192 tokens, D 64, f32; ms\n")
    length = 8192
    tensors = heads(1, 2, length, 64, torch.float32)
    dout = torch.randn_like(tensors[0])
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    live = torch.rand(128, 128, generator=torch.Generator().manual_seed(1)) < 0.1
    live.fill_diagonal_(True)
    ends = np.sort(np.random.default_rng(2).choice(np.arange(64, length), 15, replace=False))
    ids = torch.from_numpy(np.searchsorted(ends, np.arange(length), side="right"))
    cases = [("window 256", dict(window=(256, 0)), (j <= i) & (j >= i - 256),
              lambda b, h, i, j: (j <= i) & (j >= i - 256)),
             ("blocks of 64, a tenth", dict(blocks=fovea.BlockMask(live.numpy(), block=(64, 64))),
              live.repeat_interleave(64, 0).repeat_interleave(64, 1), lambda b, h, i, j: live[i // 64, j // 64]),
             ("16 documents", dict(blocks=fovea.BlockMask.documents(ids.tolist())), ids[:, None] == ids[None],
              lambda b, h, i, j: ids[i] == ids[j])]
    flex = flex_calls(cases, tensors)
    print("| pattern | live share | work | PyTorch, mask | Fovea | ratio | Fovea, dense × live share / 0.8 |"
          + (" FlexAttention | Flex / Fovea |" if flex else ""))
    print("|---|---|---|---|---|---|---|" + ("---|---|" if flex else ""), flush=True)
    plain = in_turns([lambda: fovea.attention(*tensors),
                      lambda: forward_backward(lambda q, k, v: fovea.attention(q, k, v), tensors, dout)], seconds)
    for number, (name, keywords, mask, _) in enumerate(cases):
        share = mask.float().mean().item()
        peer = lambda q, k, v: SDPA(q, k, v, attn_mask=mask)
        ours = lambda q, k, v: fovea.attention(q, k, v, **keywords)
        check(ours(*tensors), peer(*tensors), name)
        forward = [lambda: peer(*tensors), lambda: ours(*tensors)]
        if flex:
            forward.append(lambda: flex[number](*tensors))
        for work, functions, dense_time in (
                ("forward", forward, plain[0][0]),
                ("forward + backward", [lambda: forward_backward(peer, tensors, dout),
                                        lambda: forward_backward(ours, tensors, dout)], plain[1][0])):
            theirs, own, *more = (1e3 * t[0] for t in in_turns(functions, seconds))
            line = (f"| {name} | {share:.3f} | {work} | {theirs:.1f} | {own:.1f} | {theirs / own:.1f} | "
                    f"{1e3 * dense_time * share / 0.8:.1f} |")
            if flex:
                line += f" {more[0]:.1f} | {more[0] / own:.1f} |" if more else " no backward | |"
            print(line, flush=True)


def options(seconds):
    print("\n### What options and observers cost over the plain call, 8 heads, 2,048 tokens, D 64, f32; percent\n")
    print("| option | forward | forward + backward |")
    print("|---|---|---|", flush=True)
    tensors = heads(1, 8, 2048, 64, torch.float32)
    dout = torch.randn_like(tensors[0])
    slopes = torch.tensor([2.0 ** -(h + 1) for h in range(8)])
    bias = torch.randn(2048, 2048)
    cases = [("causal, of half the work", dict(causal=True)), ("dropout 0.1", dict(dropout=0.1)),
             ("bias [L, L]", dict(bias=bias)), ("bias [L, L], trained", dict(bias=bias.clone().requires_grad_())),
             ("ALiBi", dict(alibi=slopes)), ("softcap 30", dict(softcap=30.0)), ("sinks", dict(sinks=torch.zeros(8))),
             ("entropy, max", dict(observe=["entropy", "max"])), ("key mass", dict(observe=["key_mass"])),
             ("top 8", dict(observe=["top_k:8"])), ("keep the 8 strongest", dict(top_k=8))]
    plain = lambda q, k, v: fovea.attention(q, k, v)
    for name, keywords in cases:
        ours = lambda q, k, v: fovea.attention(q, k, v, **keywords)
        a, b = in_turns([lambda: plain(*tensors), lambda: ours(*tensors)], seconds)
        line = f"| {name} | {100 * (b[0] / a[0] - 1):+.1f} |"
        if "observe" in keywords:
            print(line + " |", flush=True)
            continue
        a, b = in_turns([lambda: forward_backward(plain, tensors, dout), lambda: forward_backward(ours, tensors, dout)],
                        seconds)
        print(line + f" {100 * (b[0] / a[0] - 1):+.1f} |", flush=True)


def shared_bias(seconds):
    print("\n### What a bias adds to forward + backward, 8 heads, D 64, f32; percent\n")
    print("| sequences × tokens | bias | untrained | trained |")
    print("|---|---|---|---|", flush=True)
    for batch, length, shape, causal in (
        (1, 256, (), False), (1, 512, (), False), (1, 1024, (), False), (1, 1024, (), True), (1, 2048, (), False),
        (1, 2048, (), True), (1, 4096, (), False), (4, 1024, (), False), (4, 1024, (8,), False), (16, 256, (), False),
        (16, 256, (8,), False), (16, 256, (16, 1), False),
    ):  # fmt: skip
        tensors = heads(batch, 8, length, 64, torch.float32)
        dout = torch.randn_like(tensors[0])
        bias = torch.randn(*shape, length, length)
        trained = bias.clone().requires_grad_()
        calls = [lambda q, k, v, x=x: fovea.attention(q, k, v, causal=causal, bias=x) for x in (None, bias, trained)]
        times = in_turns([lambda call=call: forward_backward(call, tensors, dout) for call in calls], seconds)
        name = ", ".join(str(n) for n in shape) + ", " if shape else ""
        line = f"| {batch} × {length:,}{', causal' if causal else ''} | [{name}L, L] |"
        print(line + "".join(f" {100 * (x[0] / times[0][0] - 1):+.0f} % |" for x in times[1:]), flush=True)


def threads(seconds, most):
    print(f"\n### Speed-up from 1 to {most} threads, f32, D 64\n")
    print("| shape | forward | forward + backward |")
    print("|---|---|---|", flush=True)
    for batch, count, length in ((1, 8, 2048), (1, 1, 4096), (32, 8, 64)):
        tensors = heads(batch, count, length, 64, torch.float32)
        dout = torch.randn_like(tensors[0])
        ours = lambda q, k, v: fovea.attention(q, k, v)

        def with_threads(number, function):
            def run():
                fovea.set_num_threads(number)
                function()
            return run

        figures = []
        for function in (lambda: ours(*tensors), lambda: forward_backward(ours, tensors, dout)):
            one, many = in_turns([with_threads(1, function), with_threads(most, function)], seconds)
            figures.append(one[0] / many[0])
        print(f"| {batch} × {count} × {length} | {figures[0]:.2f} | {figures[1]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1.0, help="for each pair of figures")
    tables = ("long", "small", "few", "ragged", "patterns", "options", "bias", "threads")
    parser.add_argument("--only", nargs="*", choices=tables, default=tables)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fovea.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, PyTorch {torch.__version__}, Fovea {fovea.__version__}; GFLOP/s, median (best)")
    if "long" in arguments.only:
        dense("Long sequences", [(1, 8, 1024, 64), (1, 4, 1024, 128), (1, 4, 4096, 64), (1, 2, 4096, 128)],
              arguments.seconds)
    if "small" in arguments.only:
        dense("Many short sequences", [(64, 8, 16, 32), (32, 8, 64, 64), (32, 8, 128, 64), (16, 8, 256, 64)],
              arguments.seconds)
    if "few" in arguments.only:
        few(arguments.seconds)
    if "ragged" in arguments.only:
        ragged(arguments.seconds)
    if "patterns" in arguments.only:
        patterns(arguments.seconds)
    if "options" in arguments.only:
        options(arguments.seconds)
    if "bias" in arguments.only:
        shared_bias(arguments.seconds)
    if "threads" in arguments.only:
        threads(arguments.seconds, arguments.threads)


if __name__ == "__main__":
    main()
