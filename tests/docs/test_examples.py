"""Every example is short, runs as it stands and says something."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import forked

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
IMPORTS = {
    "transformers_trainer": ("transformers.trainer",),
    "accelerate_loop": ("accelerate", "transformers.models.bert"),
    "lightning_module": ("pytorch_lightning",),
}
"""What the server of processes may import once, beside torch, for some of them."""


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    run = forked.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        imports=IMPORTS.get(path.stem, ()),
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    kept = (ROOT / "website/output" / f"{path.stem}.txt").read_text(encoding="utf-8")
    assert outline(run.stdout) == outline(kept), "make pictures keeps what examples print"


def outline(printed: str) -> list[str]:
    """First words of the lines, without numbers: other machines may find others."""
    words = (line.split()[0] for line in printed.splitlines() if line.strip())
    return [re.sub(r"[\d.%]+", "#", word) for word in words]
