"""How much more two workers do than one: a study of real runs on TREC, timed with each.

    python benchmarks/workers.py [--steps 1000] [--seeds 6] [--repeats 1]

TextCNN, `none` and `amp`; whole commands from start to end, imports and baselines included, one
thread a worker, in turn. Written to ``benchmarks/results/workers.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measuring import ratios, report

STUDY = """
name = "workers"
datasets = ["trec"]
backbones = ["cnn"]
policies = ["none", "amp"]
seeds = {seeds}
[training]
steps = {steps}
"""


def timed(study: Path, workers: int) -> float:
    """Milliseconds of the whole command."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--out", out, "--workers", str(workers), "--no-estimate"]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ampmix", "study", str(study), *options],
            check=True,
            capture_output=True,
        )
        return 1e3 * (time.perf_counter() - started)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.toml"
        study.write_text(STUDY.format(seeds=arguments.seeds, steps=arguments.steps), "utf-8")
        for _ in range(arguments.repeats):
            for number, name in enumerate(times, start=1):
                times[name].append(timed(study, number))
    wanted = [("throughput of 2 workers / 1", "1 worker", "2 workers", ">= 1.8")]
    runs = 3 * arguments.seeds  # with the baseline's
    report("workers", times, ratios(times, wanted), runs=runs, steps=arguments.steps)


if __name__ == "__main__":
    main()
