"""Is a step slower than at another commit? fit() of both takes turns, a few steps each.

    python benchmarks/against.py COMMIT [--cases LIST] [--runs N] [--turns N]

Both packages live in one process and one thread at a time computes: steps of one process differ by
up to a tenth from those of the next, whatever code it runs. Each of the runs trains new models, for
where their weights lie matters, too; the interval is that of the mean over runs. TREC, one thread
of products. Written to ``benchmarks/results/against.json``.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
CASES = "cnn:none,cnn:mixup,cnn:amp,cnn:amp[site=sent],bilstm:none,bilstm:amp,minilm:none"
STEPS = {"cnn": 10, "bilstm": 2, "minilm": 2}  # steps of a turn
WARM = 3  # turns that do not count


class Version:
    """A package as it is in one folder, beside another of the same name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.modules = folder, dict[str, ModuleType]()

    def __enter__(self) -> None:
        """Make ``import ampmix`` this one."""
        sys.path.insert(0, str(self.folder))
        sys.modules.update(self.modules)

    def __exit__(self, *_: object) -> None:
        """Take it away again, with what has been imported of it since."""
        sys.path.remove(str(self.folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "ampmix"]:
            self.modules[name] = sys.modules.pop(name)


class Training:
    """One fit() in a thread of its own, which stands still between turns."""

    def __init__(self, version: Version, case: str, turns: int, seed: int) -> None:
        self.version = version
        self.backbone, self.policy = case.split(":")
        self.each, self.seed = STEPS[self.backbone], seed
        self.steps = self.each * turns
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._fit, daemon=True).start()

    def turn(self) -> float:
        """Let it do its next steps; milliseconds of one."""
        with self.version:
            began = time.perf_counter()
            self.go.release()
            self.done.acquire()
            return 1e3 * (time.perf_counter() - began) / self.each

    def _fit(self) -> None:
        self.go.acquire()
        import ampmix
        from ampmix import datasets
        from ampmix._support.components import parse
        from ampmix.data.splits import split_holdout
        from ampmix.training.config import settings
        from ampmix.training.fit import fit

        assert self.version.folder in Path(ampmix.__file__).parents
        backbone = parse(self.backbone, "ampmix.backbones", "backbone")
        config = settings(
            backbone, True, steps=self.steps, eval_every=self.steps, precision="float32"
        )
        policy = parse(self.policy, "ampmix.policies", "policy")
        data = split_holdout(datasets.load("trec"), seed=0)
        fit(backbone, policy, data, config, self.seed, on_step=self._pause)
        self.done.release()

    def _pause(self, step: int) -> None:
        if step % self.each == 0:
            self.done.release()
            self.go.acquire()


def both(versions: tuple[Version, Version], case: str, turns: int, seed: int) -> Any:
    """Milliseconds of a step in each turn, of either version: ``[2, turns]``."""
    pair = [Training(version, case, turns, seed) for version in versions]
    found: list[list[float]] = [[], []]
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            found[which].append(pair[which].turn())
    for training in pair:
        training.turn()
    return [own[WARM:] for own in found]


def main() -> None:
    """Measure, print, write."""
    import numpy as np
    import torch
    from scipy.stats import t

    from _measuring import report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--turns", type=int, default=18)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    git = ["git", "-C", str(HERE.parent), "archive", arguments.commit, "src"]
    archive = subprocess.run(git, check=True, capture_output=True).stdout
    times, ratios = dict[str, list[float]](), {}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        versions = Version(Path(folder) / "src"), Version(HERE.parent / "src")
        for case in arguments.cases.split(","):
            logs = []
            for run in range(arguments.runs):
                before, now = both(versions, case, arguments.turns, run)
                times.setdefault(f"{case} before", []).extend(before)
                times.setdefault(f"{case} now", []).extend(now)
                logs.append(float(np.median(np.log(now) - np.log(before))))
            error = t.ppf(0.975, len(logs) - 1) * np.std(logs, ddof=1) / np.sqrt(len(logs))
            low, middle, high = np.exp(np.mean(logs) + error * np.array([-1, 0, 1])).tolist()
            ratios[case] = {"ratio": middle, "quartiles": [low, high], "aim": "<= 1.02"}
            print(f"{case}: {middle:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    told = {"commit": arguments.commit, "interval": "95 % interval over runs"}
    report("against", times, ratios, **told)


if __name__ == "__main__":
    if os.environ.get("GLIBC_TUNABLES") is None:
        # the environment that training runs in; the allocator reads it once, at the start
        with Version(HERE.parent / "src"):
            from ampmix.studies.executors import WORKER_ENVIRONMENT
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})
    main()
