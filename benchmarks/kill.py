"""Kill a study again and again: does it end with exactly the records of an undisturbed one?

    python benchmarks/kill.py [--steps 400] [--seeds 10] [--kills 20] [--out benchmarks/results]

Runs of TREC with six policies (and the baseline), once undisturbed, once under ``kill -9`` of the
whole process group at random moments, workers included. Prints and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLICIES = "none", "mixup", "mixup[site=sent]", "amp", "amp[site=sent]", "amp[eps=0.1,site=sent]"
STUDY = """
name = "kill"
datasets = ["trec"]
backbones = ["{backbone}"]
policies = {policies}
seeds = {seeds}
[training]
steps = {steps}
lr = 1e-3
"""


def command(study: Path, out: Path) -> list[str]:
    options = ["--out", str(out), "--workers", "2", "--no-estimate"]
    return [sys.executable, "-m", "ampmix", "study", str(study), *options]


def digests(out: Path) -> dict[str, str]:
    found = (out / "records").glob("[!.]*.json")
    return {path.name: json.loads(path.read_text())["digest"] for path in found}


def undisturbed(study: Path, out: Path) -> float:
    started = time.monotonic()
    subprocess.run(command(study, out), check=True, capture_output=True)
    return time.monotonic() - started


def disturbed(study: Path, out: Path, kills: int, longest: float) -> tuple[int, list[int]]:
    """How often it was killed, and how many records there were each time."""
    draw, records = random.Random(0), list[int]()
    while True:
        process = subprocess.Popen(
            command(study, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(draw.uniform(0, longest) if len(records) < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            records.append(len(digests(out)))
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.returncode:
                raise SystemExit(f"the study ended with {process.returncode}")
            return len(records), records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--backbone", default="cnn")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = folder / "kill.toml"
        policies = json.dumps(POLICIES)
        text = STUDY.format(
            backbone=given.backbone, policies=policies, seeds=given.seeds, steps=given.steps
        )
        study.write_text(text)
        seconds = undisturbed(study, folder / "undisturbed")
        # so that the kills come before the end, and some before the first record
        longest = max(10.0, 2 * seconds / max(given.kills, 1))
        killed, records = disturbed(study, folder / "killed", given.kills, longest)
        expected, made = digests(folder / "undisturbed"), digests(folder / "killed")
    result = {
        "runs": len(expected),
        "trained_runs": len(POLICIES) * given.seeds,
        "steps": given.steps,
        "backbone": given.backbone,
        "seconds_undisturbed": round(seconds, 1),
        "kills": killed,
        "records_at_each_kill": records,
        "same_records_to_the_bit": made == expected,
    }
    print(json.dumps(result, indent=1))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "kill.json").write_text(json.dumps(result, indent=1) + "\n")
    raise SystemExit(0 if made == expected else 1)


if __name__ == "__main__":
    main()
