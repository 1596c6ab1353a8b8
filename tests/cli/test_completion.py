"""`ampmix completion`: a script that a shell takes, with every command and its options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ampmix.cli.main import main


def test_bash_completes_commands_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    bash = shutil.which("bash") or pytest.skip("there is no bash")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")

    def completed(line: str) -> set[str]:
        words = line.split(" ")
        asked = (
            f"source {script}; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
            f"COMP_CWORD={len(words) - 1}; $(complete -p ampmix | sed 's/.*-F \\([^ ]*\\).*/\\1/') "
            f"ampmix {words[-1]!r} {words[-2]!r}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=True)
        return {word.strip() for word in done.stdout.splitlines()}

    assert completed("ampmix comp") == {"compare", "completion"}
    assert completed("ampmix serve --po") == {"--port"}
    assert completed("ampmix compare --bu") == {"--budget"}


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert "bash" in capsys.readouterr().err
