"""Seeds as an axis: steps and memory of S seeds trained side by side, against one.

    python benchmarks/replicas.py [--replicas 1,4,8] [--backbones SPECS]
    python benchmarks/replicas.py --device cuda --replicas 1,4,8,16,32 --warm-up 200 [--eager]

Real batches of TREC (AMPMIX_DATA, else downloaded), each seed its own split. `alone` is a step that
is not recorded, one seed after another; on a GPU ``fit`` takes the row of one seed. On a CPU
candidates take turns of a few steps, in a new order each round, since others may be using the
machine; medians over the rounds. Memory is what a GPU had allocated at most during the steps; on a
CPU it is not measured. Both have what :func:`ampmix.training.replicas.footprint` expects of S
seeds, and the operations and bytes that a step cannot do without. Written to
``results/replicas-DEVICE.json``, or another name by `--name`. `make bench-gpu` does all that is to
be measured on a GPU.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch
from torch.utils.flop_counter import FlopCounterMode

from _measuring import RESULTS, matmul_speed, memory_speed
from ampmix import datasets
from ampmix._support.components import parse, parse_list, spec
from ampmix.data.dataset import Split
from ampmix.data.splits import split_holdout
from ampmix.training.config import TrainConfig
from ampmix.training.optimizer import optimizer_of
from ampmix.training.replicas import footprint
from ampmix.training.stack import Stack
from ampmix.training.step import TrainingStep, stepper, training_batches
from ampmix.training.training_run import TrainingRun

Steps = Callable[[int], None]
"""Does so many steps."""
WORK = 5
"""Steps whose operations are counted."""


def alone(backbone: Any, policy: Any, split: Split, config: TrainConfig) -> Steps:
    """The steps that fit() takes where they are not recorded."""
    device = torch.device(config.device)
    one = TrainingRun(backbone, policy, split, config, 0, device)
    one.model.train()
    step = TrainingStep(one.model, one.learner, one.loss, 0, device)
    optimizer = optimizer_of(one.model.parameters(), config)
    once, batches = stepper(step, optimizer, config), training_batches(one.parts.train, config, 0)

    def steps(count: int) -> None:
        for batch in itertools.islice(batches, count):
            once(batch)

    return steps


def stacked(
    backbone: Any, policy: Any, splits: list[Split], config: TrainConfig, eager: bool
) -> Steps:
    """The steps that fit_many() takes; losses are read once at the end of them."""
    device = torch.device(config.device)
    runs = [
        TrainingRun(backbone, policy, split, config, i, device) for i, split in enumerate(splits)
    ]
    stack = Stack(runs, policy, config, device, (lambda _: None) if eager else None)

    def steps(count: int) -> None:
        losses = [stack.step(batch, 0) for batch in stack.batches.upcoming(count)]
        torch.stack(losses).cpu()

    return steps


def timed(steps: Steps, count: int, device: str) -> float:
    """Seconds a step."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    steps(count)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / count


def work_of(backbone: Any, policy: Any, split: Split, config: TrainConfig) -> dict[str, float]:
    """What a step cannot do without, for a seed: operations of matrix products, bytes of Adam.

    Adam reads weight, gradient and two moments, and writes all but the gradient.
    """
    cpu = replace(config, device="cpu")
    one = TrainingRun(backbone, policy, split, cpu, 0, torch.device("cpu"))
    trained = sum(p.numel() for p in one.model.parameters() if p.requires_grad)
    steps = alone(backbone, policy, split, cpu)
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        steps(WORK)
    return {"flops": counter.get_total_flops() / WORK, "adam_bytes": 7 * 4.0 * trained}


def measured(
    backbone: Any, policy: Any, splits: list[Split], config: TrainConfig, arguments: Any
) -> list[dict[str, Any]]:
    """A row for one seed alone, and one for each number of seeds."""
    cuda, rows = config.device.startswith("cuda"), []
    sizes = [0, *map(int, arguments.replicas.split(","))]
    makers: dict[int, Callable[[], Steps]] = {
        n: partial(stacked, backbone, policy, splits[:n], config, arguments.eager)
        if n
        else partial(alone, backbone, policy, splits[0], config)
        for n in sizes
    }
    times: dict[int, list[float]] = {n: [] for n in sizes}
    memory: dict[int, int | None] = dict.fromkeys(sizes)
    if cuda:  # one after the other, or none could have the memory to itself
        for n in sizes:
            gc.collect()
            torch.cuda.empty_cache()
            steps = makers[n]()
            steps(arguments.warm_up)
            torch.cuda.reset_peak_memory_stats()
            times[n] = [
                timed(steps, arguments.steps, config.device) for _ in range(arguments.rounds)
            ]
            memory[n] = torch.cuda.max_memory_allocated()
            del steps
    else:
        candidates = {n: make() for n, make in makers.items()}
        rng = np.random.default_rng(0)
        for steps in candidates.values():
            steps(arguments.warm_up)
        for _ in range(arguments.rounds):
            for n in rng.permutation(sizes).tolist():
                times[n].append(timed(candidates[n], arguments.steps, config.device))
    expected = footprint(backbone, policy, splits[0], config)
    one = float(np.median(times[0]))
    work = work_of(backbone, policy, splits[0], config)
    for n in sizes:
        step = float(np.median(times[n]))
        gain = [max(n, 1) * a / b for a, b in zip(times[0], times[n], strict=True)]
        rows.append(
            {
                "backbone": spec(backbone),
                "policy": spec(policy),
                "batch_size": config.batch_size,
                "seeds": n or "alone",
                "ms_a_step": 1e3 * step,
                "seed_steps_a_second": max(n, 1) / step,
                "gain": max(n, 1) * one / step,
                "gain_quartiles": np.percentile(gain, [25, 75]).tolist(),
                "memory_bytes": memory[n],
                "footprint_bytes": max(n, 1) * expected,
                **work,
            }
        )
        print(
            f"{spec(backbone)[:40]:40s} {spec(policy):18s} {n or 'alone':>5} {1e3 * step:9.2f} ms "
            f"{rows[-1]['seed_steps_a_second']:9.1f} seed-steps/s  x{rows[-1]['gain']:.2f}",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--replicas", default="1,4,8", help="numbers of seeds")
    parser.add_argument("--backbones", default="cnn,bilstm[hidden_size=128]")
    parser.add_argument("--policies", default="none,amp")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the labels")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before (GPU: 200 or more)")
    parser.add_argument("--eager", action="store_true", help="replay no CUDA graphs")
    parser.add_argument("--name", default="", help="added to the name of the file of results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = datasets.load("trec")
    most = max(map(int, arguments.replicas.split(",")))
    splits = [split_holdout(dataset, seed, arguments.fraction) for seed in range(most)]
    rows = []
    for backbone in parse_list(arguments.backbones, "ampmix.backbones", "backbone"):
        config = replace(TrainConfig.of(backbone, steps=10**6), device=arguments.device)
        for name in arguments.policies.split(","):
            policy = parse(name, "ampmix.policies", "policy")
            rows += measured(backbone, policy, splits, config, arguments)
    device = arguments.device.split(":")[0]
    cuda = device == "cuda"
    content = {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if cuda else f"{platform.machine()}, one thread",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "matrix_speed": matmul_speed(size=4096 if cuda else 512, device=device),
        "memory_speed": memory_speed(1024 if cuda else 64, device=device),
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"replicas-{device}{arguments.name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
