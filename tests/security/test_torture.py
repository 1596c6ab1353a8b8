"""A short cut of `make torture`: a few faults, one after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "torture" / "run.py"
SCENARIOS = "save over a model", "study here"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="preloads a library"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="compiles a library"),
]


@pytest.mark.slow
def test_nothing_is_lost_or_half_written_and_all_can_be_resumed(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(SCRIPT), "--seed", "7", "--faults", "26", "--forked"]
    for name in SCENARIOS:
        command += ["--only", name]
    done = subprocess.run(
        [*command, "--json", str(figures)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["findings"] == []
    assert found["faults"] >= 22  # that happened, not that were planned
    assert len(found["by_kind"]) >= 12
