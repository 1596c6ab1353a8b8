"""Candidates in turn on the same batches: medians, ratios with their quartiles, a JSON file."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Step = Callable[[Any], float]
RESULTS = Path(__file__).parent / "results"


def measure(steps: dict[str, Step], batches: Sequence[Any], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every step, candidates interleaved batch by batch in a new order each time.

    Who comes after a large model finds the caches cold, so nobody should always be that one.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    rng, names = np.random.default_rng(0), list(steps)
    for number in range(rounds + 1):
        for batch in batches:
            for name in rng.permutation(names).tolist():
                started = time.perf_counter()
                steps[name](batch)
                if number:  # the first round warms up
                    times[name].append(1e3 * (time.perf_counter() - started))
    return times


def matmul_speed(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.matmul,
    size: int = 512,
    seconds: float = 1.0,
    device: str = "cpu",
) -> float:
    """Measured speed of large float32 matrix products on one thread or a GPU, FLOP/s."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / _median_seconds(lambda: product(a, b), seconds, device)


def memory_speed(megabytes: int = 64, seconds: float = 1.0, device: str = "cpu") -> float:
    """Measured speed at which memory larger than the caches is copied, bytes/s."""
    a, b = (torch.ones(megabytes * 2**18, device=device) for _ in range(2))
    return 2 * 4 * a.numel() / _median_seconds(lambda: a.copy_(b), seconds, device)


def _median_seconds(do: Callable[[], object], seconds: float, device: str) -> float:
    times: list[float] = []
    while sum(times) < seconds:
        started = time.perf_counter()
        do()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def ratios(
    times: Mapping[str, list[float]], wanted: Sequence[tuple[str, str, str, str]]
) -> dict[str, dict[str, Any]]:
    """Ratios of medians, with the quartiles of the batch-by-batch ratio.

    `wanted` has a title, who is above, who is below, and what is aimed at.
    """
    found = {}
    for title, above, below, aim in wanted:
        paired = np.array(times[above]) / np.array(times[below])
        ratio = float(np.median(times[above]) / np.median(times[below]))
        quartiles = np.percentile(paired, [25, 75]).tolist()
        found[title] = {"ratio": ratio, "quartiles": quartiles, "aim": aim}
    return found


def report(
    name: str, times: Mapping[str, list[float]], found: Mapping[str, Any], **more: Any
) -> None:
    """Print medians and ratios, and write them to ``results/NAME.json``."""
    medians = {candidate: float(np.median(values)) for candidate, values in times.items()}
    print("median ms a step")
    for candidate, value in medians.items():
        print(f"  {candidate:34s}{value:9.2f}")
    print("ratio of medians [quartiles batch by batch]")
    for title, row in found.items():
        low, high = row["quartiles"]
        print(f"  {title:34s}{row['ratio']:9.2f}  [{low:.2f}, {high:.2f}]  {row['aim']}")
    content = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread used",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "median_ms": medians,
        "ratios": found,
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
