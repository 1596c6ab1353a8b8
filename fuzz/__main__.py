"""Run the targets one after the other and say what was found."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fuzz.targets import TARGETS

RESTARTS = 8  # of a target whose process died


def main() -> int:
    """1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"all unless given: {', '.join(TARGETS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, shared out")
    parser.add_argument("--out", type=Path, help="for corpus and findings (a temporary folder)")
    parser.add_argument("--engine", choices=("atheris", "blind"))
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.targets) - set(TARGETS)):
        parser.error(f"no target {unknown[0]!r}: there are {', '.join(TARGETS)}")
    engine = arguments.engine or (
        "atheris" if importlib.util.find_spec("atheris") is not None else "blind"
    )
    out = arguments.out or Path(tempfile.mkdtemp(prefix="ampmix-fuzz-"))
    out.mkdir(parents=True, exist_ok=True)
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    whole = sum(target.share for target in chosen)
    found = 0
    print(f"engine {engine}, seed {arguments.seed}; findings go to {out / 'findings'}")
    print(
        f"{'target':<10}{'inputs':>9}{'refused':>9}{'seconds':>9}{'slowest':>9}{'MB':>6}  findings"
    )
    for target in chosen:
        inputs = max(1, round(arguments.inputs * target.share / whole))
        told = _run(target.name, inputs, arguments.seed, out, engine)
        found += len(told["findings"])
        print(
            f"{target.name:<10}{told['tried']:>9}{told['refused']:>9}{told['seconds']:>9.0f}"
            f"{told['slowest_s']:>9.2f}{told['peak_mb']:>6}  {len(told['findings'])}",
            flush=True,
        )
        for where, name in told["findings"].items():
            print(f"    {name}  {where}", flush=True)
    return int(found > 0)


def _run(name: str, inputs: int, seed: int, out: Path, engine: str) -> dict[str, Any]:
    """The figures of a target; a process that dies is a finding, and another goes on."""
    told: dict[str, Any] = {
        "tried": 0, "refused": 0, "seconds": 0.0, "slowest_s": 0.0, "peak_mb": 0, "findings": {}
    }  # fmt: skip
    for attempt in range(RESTARTS):
        command = [sys.executable, "-m", "fuzz.one", name, "--engine", engine, "--out", str(out)]
        command += ["--seed", str(seed + 1000 * attempt), "--inputs", str(inputs - told["tried"])]
        with (out / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
            status = process.wait()
        figures = out / f"{name}.{process.pid}.json"
        own = json.loads(figures.read_text()) if figures.exists() else {}
        for key in ("tried", "refused", "seconds"):
            told[key] += own.get(key, 0)
        for key in ("slowest_s", "peak_mb"):
            told[key] = max(told[key], own.get(key, 0))
        told["findings"] |= own.get("findings", {})
        if status == 0:
            break
        told["findings"][f"the process died (status {status})"] = f"{name}.log"
        if told["tried"] >= inputs:
            break
    return told


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    sys.exit(main())
