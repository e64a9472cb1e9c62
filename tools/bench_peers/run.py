#!/usr/bin/env python3
"""Times training steps of PyTorch and of Fovea in turns, in one run, and prints the ratios (`make bench-peers`).

Each round runs PyTorch eager, PyTorch compiled and Fovea one after the other, so that a machine that slows down slows
all of them. The figure is the median over every step of every round.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

import shapes

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Peer:
    """A long-lived PyTorch process: compiling takes tens of seconds and is done once."""

    def __init__(self, threads, environment):
        self.process = subprocess.Popen([sys.executable, str(HERE / "peer.py"), str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def run(self, shape, mode, precision, steps):
        self.process.stdin.write(json.dumps({"shape": shape, "mode": mode, "precision": precision, "steps": steps}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench-peers: the PyTorch process ended; its message stands above")
        return json.loads(line)

    # Its threads spin while they wait for work: stopped, they leave the processor to the one that is being timed.
    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run_fovea(shape, steps, threads, precision, environment):
    command = [str(ROOT / "build/bin/peer_step_bench"), shape, str(steps), str(threads), precision]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="steps in a round; a quarter of it for the large shapes")
    parser.add_argument("--shapes", nargs="*", default=list(shapes.SHAPES))
    parser.add_argument("--precisions", nargs="*", choices=("float32", "bf16"), default=("float32", "bf16"))
    arguments = parser.parse_args()

    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads), OMP_WAIT_POLICY="active")
    results = {}
    peer = Peer(arguments.threads, environment)
    for precision in arguments.precisions:
        print(f"{arguments.threads} threads, {'float32' if precision == 'float32' else 'bf16 (PyTorch: autocast)'}, "
              f"{arguments.rounds} rounds; medians in ms a step", flush=True)
        print(f"{'shape':16}{'eager':>9}{'compiled':>10}{'fovea':>9}{'eager/fovea':>13}{'compiled/fovea':>16}"
              f"{'memory, eager':>15}{'memory, fovea':>15}{'ratio':>7}", flush=True)
        results[precision] = {name: measure(peer, name, precision, arguments, environment)
                              for name in arguments.shapes}
    peer.close()
    print(json.dumps(results))


def measure(peer, name, precision, arguments, environment):
    """Prints one line of the table: the two sides in turns, then the peak memory of the peer in a fresh process."""
    modes = ("eager", "compiled")
    steps = arguments.steps if name == "gpt-small" else max(arguments.steps // 4, 3)
    times = {mode: [] for mode in (*modes, "fovea")}
    losses = {}
    for _ in range(arguments.rounds):
        for mode in modes:
            answer = peer.run(name, mode, precision, steps)
            times[mode] += answer["step_ms"]
            losses[mode] = answer["loss"]
        peer.pause()
        answer = run_fovea(name, steps, arguments.threads, precision, environment)
        peer.resume()
        times["fovea"] += answer["step_ms"]
        losses["fovea"] = answer["loss"]
    peer.pause()
    fresh = Peer(arguments.threads, environment)  # the peak of this shape alone, without the compiler's memory
    peak = fresh.run(name, "eager", precision, 3)["peak_bytes"]
    fresh.close()
    peer.resume()
    median = {mode: statistics.median(values) for mode, values in times.items()}
    ours = answer["peak_bytes"]
    print(f"{name:16}{median['eager']:9.2f}{median['compiled']:10.2f}{median['fovea']:9.2f}"
          f"{median['eager'] / median['fovea']:13.2f}{median['compiled'] / median['fovea']:16.2f}"
          f"{peak / 2**20:11.0f} MiB{ours / 2**20:11.0f} MiB{peak / ours:7.2f}", flush=True)
    return {"step_ms": median, "loss": losses, "peak_bytes": {"eager": peak, "fovea": ours}}


if __name__ == "__main__":
    main()
