"""Is a step slower than at another commit? fit() of both takes turns, a few steps each.

    python benchmarks/against.py COMMIT [--cases LIST] [--pairs N] [--turns N]

Memory lies differently in each process, which alone makes steps up to a tenth slower or faster;
therefore several pairs of processes are measured, and the ratio's interval is that of the mean over
pairs. One thread; TREC. Written to ``benchmarks/results/against.json``.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = "cnn:none,cnn:mixup,cnn:amp,cnn:amp[site=sent],bilstm:none,bilstm:amp,minilm:none"
STEPS = {"cnn": 20, "bilstm": 4, "minilm": 2}  # steps of a turn
WARM = 3  # turns that do not count
T95 = (math.nan, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)  # by pairs - 1


def work(backbone: str, policy: str, turns: int, seed: int) -> None:
    """Train in this process: a turn for each line read, its seconds printed."""
    import torch

    from ampmix import datasets
    from ampmix._support.components import parse
    from ampmix.data.splits import split_holdout
    from ampmix.training.config import settings
    from ampmix.training.fit import fit

    torch.set_num_threads(1)
    own = STEPS[backbone]
    began = 0.0

    def on_step(step: int) -> None:
        nonlocal began
        if step % own == 0:
            print(time.perf_counter() - began, flush=True)
            sys.stdin.readline()
            began = time.perf_counter()

    made = parse(backbone, "ampmix.backbones", "backbone")
    steps = own * turns
    config = settings(made, True, steps=steps, eval_every=steps)
    data = split_holdout(datasets.load("trec"), seed=0)
    sys.stdin.readline()
    fit(made, parse(policy, "ampmix.policies", "policy"), data, config, seed, on_step=on_step)


def turns_of(sources: tuple[Path, Path], case: str, turns: int, seed: int) -> list[list[float]]:
    """Seconds of each turn, of both commits."""
    from ampmix.studies.executors import WORKER_ENVIRONMENT

    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", *case.split(":"), str(turns), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **WORKER_ENVIRONMENT, "PYTHONPATH": str(source)},
        )
        for source in sources
    ]
    found: list[list[float]] = [[], []]
    for turn in range(turns):
        for i in (0, 1) if turn % 2 else (1, 0):
            stdin, stdout = workers[i].stdin, workers[i].stdout
            assert stdin and stdout
            stdin.write("\n")
            stdin.flush()
            found[i].append(float(stdout.readline()))
    for worker in workers:
        worker.kill()
    return [own[WARM:] for own in found]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--turns", type=int, default=25)
    arguments = parser.parse_args()

    import numpy as np

    from _measuring import report

    git = ["git", "-C", str(HERE.parent), "archive", arguments.commit, "src"]
    archive = subprocess.run(git, check=True, capture_output=True).stdout
    times, ratios = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        sources = (Path(folder) / "src", HERE.parent / "src")
        for case in arguments.cases.split(","):
            logs = []
            times[f"{case} before"], times[f"{case} now"] = [], []
            for pair in range(arguments.pairs):
                before, now = turns_of(sources, case, arguments.turns, pair)
                each = STEPS[case.split(":")[0]] / 1e3
                times[f"{case} before"] += [one / each for one in before]
                times[f"{case} now"] += [one / each for one in now]
                logs.append(math.log(np.median(now) / np.median(before)))
            error = T95[len(logs) - 1] * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
            middle = float(np.mean(logs))
            ends = [math.exp(middle - error), math.exp(middle + error)]
            ratios[case] = {"ratio": math.exp(middle), "quartiles": ends, "aim": "<= 1.02"}
            print(f"{case}: {math.exp(middle):.3f} [{ends[0]:.3f}, {ends[1]:.3f}]", flush=True)
    report("against", times, ratios, commit=arguments.commit, interval="95 % interval over pairs")


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
