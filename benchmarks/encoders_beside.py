"""MiniLM by ampmix, by transformers' Trainer and by SetFit, on the same texts.

    python benchmarks/encoders_beside.py [--seeds 3] [--fraction 0.03] [--setfit PYTHON]

About 160 labelled questions of TREC (AMPMIX_DATA, else downloaded) and its test set, one thread,
one after the other in a new order for each seed. Each library runs in an environment of its own:
PYTHON is one that has SetFit; without, it is left out. Seconds are those of training, ours with the
loading and all readings. Trainer takes the steps, rate and batches of ours. Written to
``benchmarks/results/encoders_beside.json`` after each run; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch

import ampmix
from _measuring import RESULTS
from ampmix import datasets
from ampmix._support.components import parse_model
from ampmix.backbones.hf_loading import MINILM, located
from ampmix.data.dataset import Split
from ampmix.data.splits import split_holdout
from ampmix.training.config import TrainConfig, settings

PATH = RESULTS / "encoders_beside.json"
STEPS = 300
"""Of all layers; upper ones and SetFit take what they take by themselves."""
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "ampmix, all layers": ("minilm", {"steps": STEPS}),
    "ampmix, all layers in float32": ("minilm", {"steps": STEPS, "precision": "float32"}),
    "ampmix, upper two layers": ("minilm[train_layers=2]", {}),
    "ampmix, upper layer": ("minilm[train_layers=1]", {}),
    "ampmix, logistic regression": ("encoder-logreg", {}),
}
OTHERS = {"Trainer, all layers in float32": "trainer", "SetFit": "setfit"}


def ours(name: str, split: Split, seed: int) -> tuple[list[int], float]:
    """Predicted classes and seconds of a model of ours."""
    spec, given = OURS[name]
    model = parse_model(spec)
    started = time.perf_counter()
    config = settings(model, False, len(split.train), **given)
    done = ampmix.fit(model, ampmix.NoMixup(), split, config, seed)
    seconds = time.perf_counter() - started
    return done.test_probabilities.argmax(1).tolist(), seconds


def others(name: str, split: Split, seed: int, python: str) -> tuple[list[int], float]:
    """The same of another library."""
    recipe = TrainConfig.of(parse_model("minilm"), steps=STEPS)
    given = {
        "texts": list(split.train.texts),
        "labels": split.train.labels.tolist(),
        "test": list(split.test.texts),
        "seed": seed,
        **{
            name: getattr(recipe, name)
            for name in ("steps", "lr", "batch_size", "weight_decay", "warmup")
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in.json"), Path(folder, "out.json")
        source.write_text(json.dumps(given), encoding="utf-8")
        script = str(Path(__file__).with_name("_others.py"))
        command = [python, script, OTHERS[name], located(MINILM), str(source), str(out)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        content = json.loads(out.read_text(encoding="utf-8"))
    return content["predicted"], content["seconds"]


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each candidate: its seeds, mean error, least and most, median seconds."""
    rows = []
    for name in (*OURS, *OTHERS):
        own = [run for run in runs if run["name"] == name]
        if own:
            errors = [run["error"] for run in own]
            seconds = float(np.median([run["seconds"] for run in own]))
            rows.append(
                {
                    "name": name,
                    "seeds": len(own),
                    "error": float(np.mean(errors)),
                    "range": [min(errors), max(errors)],
                    "seconds": seconds,
                }
            )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fraction", type=float, default=0.03)
    parser.add_argument("--setfit", metavar="PYTHON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = datasets.load("trec")
    runs = json.loads(PATH.read_text(encoding="utf-8"))["runs"] if PATH.exists() else []
    names = [name for name in (*OURS, *OTHERS) if name != "SetFit" or arguments.setfit]
    ours("ampmix, upper layer", split_holdout(data, 0, 0.01), 0)  # imports, weights from the disk
    for seed in range(arguments.seeds):
        split = split_holdout(data, seed, arguments.fraction)
        for name in np.random.default_rng(seed).permutation(names).tolist():
            if any((run["name"], run["seed"]) == (name, seed) for run in runs):
                continue
            if name in OURS:
                predicted, seconds = ours(name, split, seed)
            else:
                python = arguments.setfit if name == "SetFit" else sys.executable
                predicted, seconds = others(name, split, seed, python)
            error = float((np.array(predicted) != split.test.labels).mean())
            runs.append({"name": name, "seed": seed, "error": error, "seconds": seconds})
            content = {"date": time.strftime("%Y-%m-%d"), "texts": len(split.train),
                       "summary": summary(runs), "runs": runs}  # fmt: skip
            PATH.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"seed {seed}, {name}: {error:.1%}, {seconds:.0f} s", flush=True)
    for row in summary(runs):
        low, high = row["range"]
        print(
            f"{row['name']:34s}{row['error']:7.1%} ({low:.1%} to {high:.1%}, {row['seeds']} seeds)"
            f"{row['seconds']:7.0f} s"
        )


if __name__ == "__main__":
    main()
