"""What .ci/audit.py makes of pip-audit's answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / ".ci" / "audit.py"
WEAK = {"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(**more: Any) -> dict[str, Any]:
    return {"name": "left-pad", "version": "2.0", **more}


@pytest.mark.parametrize(
    ("packages", "told", "known"),
    [
        ([package(vulns=[])], "1 of 1 packages looked up, 0 vulnerabilities", False),
        ([package(vulns=[]), {"name": "b", "skip_reason": "404"}], "1 of 2 packages", False),
        ([package(vulns=[WEAK])], "left-pad 2.0: PYSEC-2026-1, mended in 2.1", True),
        ([package(vulns=[{"id": "A", "fix_versions": []}])], "A, mended in no version yet", True),
        ([{"name": "b", "skip_reason": "404"}], "skipped", False),
    ],
)
def test_a_known_vulnerability_fails_and_what_cannot_be_asked_is_said(
    audit: ModuleType, packages: list[dict[str, Any]], told: str, known: bool
) -> None:
    text, found = audit.verdict({"dependencies": packages})
    assert told in text and found is known


@pytest.mark.parametrize("printed", ["", "ERROR: no route to host"])
def test_an_audit_that_breaks_off_is_said_and_is_no_error(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    printed: str,
) -> None:
    class Done:
        stdout = printed

    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: Done())
    assert audit.main() == 0
    assert "skipped" in capsys.readouterr().out


def test_a_vulnerability_is_an_exit_code(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    class Done:
        stdout = json.dumps({"dependencies": [package(vulns=[WEAK])]})

    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: Done())
    assert audit.main() == 1
    assert "PYSEC-2026-1" in capsys.readouterr().out
