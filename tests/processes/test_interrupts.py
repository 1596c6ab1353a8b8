"""Ctrl-C before anything has begun, and after all is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import signal, sys
from ampmix.cli import main as cli
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, cli._interrupt)
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + code], cwd=folder, capture_output=True, text=True
    )


def test_the_command_line_listens_before_torch_is_imported(tmp_path: Path) -> None:
    done = python("print('torch' in sys.modules, 'numpy' in sys.modules)", tmp_path)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_import_ends_at_once_and_says_so(tmp_path: Path, name: str) -> None:
    """C++ that runs while a module is imported may not survive an exception."""
    lines = ["import os, signal", "try:", f"    os.kill(os.getpid(), signal.{name})"]
    lines += ["    [0 for _ in range(9)]", "except BaseException:", "    os.abort()"]
    (tmp_path / "slow.py").write_text("\n".join(lines))
    done = python("sys.path.insert(0, '.')\nimport slow\nprint('imported')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_elsewhere_it_is_an_exception_and_the_next_one_is_ignored(tmp_path: Path) -> None:
    code = """
import os
try:
    os.kill(os.getpid(), signal.SIGINT)
    [0 for _ in range(9)]
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("in good order")
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "in good order\n", "")


@pytest.mark.parametrize("place", ["__del__", "generator"])
def test_where_nobody_could_catch_it_the_process_ends_at_once(tmp_path: Path, place: str) -> None:
    """An exception in what is being cleared away is printed and forgotten, and the work goes on."""
    code = """
import os
def strike():
    os.kill(os.getpid(), signal.SIGINT)
    [0 for _ in range(9)]
class Cleared:
    __del__ = lambda self: strike()
def generator():
    try:
        yield
    finally:
        strike()
def main():
    one = Cleared() if PLACE == "__del__" else generator()
    next(one, None) if PLACE == "generator" else None
    del one
    print("goes on")
    return 0
cli.main = main
cli.run()
"""
    done = python(f"PLACE = {place!r}\n{code}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_a_signal_after_the_end_changes_nothing(tmp_path: Path) -> None:
    code = """
import atexit, os
def late():
    os.kill(os.getpid(), signal.SIGINT)
    print("to the end")
atexit.register(late)
sys.argv = ["ampmix", "--version"]
cli.main = lambda: 1
cli.run()
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "to the end\n", "")
