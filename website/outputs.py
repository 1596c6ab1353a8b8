"""Run every example and keep what it prints, for the gallery.

python website/outputs.py [NAME ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUT = Path(__file__).parent / "output"


def keep(path: Path) -> None:
    """Run an example in an empty folder and write its standard output."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(path)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    OUTPUT.mkdir(exist_ok=True)
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    (OUTPUT / f"{path.stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for example in sorted((ROOT / "examples").glob("*.py")):
        if example.stem in sys.argv[1:] or not sys.argv[1:]:
            keep(example)
            print(example.stem)
