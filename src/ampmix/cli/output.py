"""Say answers, notes and details the same way in all commands: as text, or as one JSON document."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError, printable

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
ALONE = "-"  # what --json without FILE stands for
_log = logging.getLogger("ampmix")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare the options on output, which all commands with an answer share."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json",
        nargs="?",
        const=ALONE,
        metavar="FILE.json",
        help="print the answer as one JSON document instead of text; with FILE.json the text is "
        "printed and the document written there",
    )
    level = group.add_mutually_exclusive_group()
    level.add_argument(
        "-q", "--quiet", action="store_true", help="print the answer alone: no progress, no notes"
    )
    level.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="say also what is chosen, where files lie, and how long each part takes",
    )


class Output:
    """Channels of a command.

    The answer goes to standard output: as text, or with ``--json`` as one JSON document and
    nothing beside it. Remarks on it go there too, but with ``--json`` to standard error, where
    notes, progress and details are. ``--quiet`` leaves the answer alone; errors are always said.

    Args:
        arguments: those of :func:`add_output`; without them the answer is text.
        stdout: where a document goes.
    """

    def __init__(self, arguments: argparse.Namespace, stdout: TextIO) -> None:
        self._file: str | None = getattr(arguments, "json", None)
        self._quiet = bool(getattr(arguments, "quiet", False))
        self._stdout, self._silent = stdout, False

    def only_first(self, rank: int) -> None:
        """Of several processes that work together only the first one says anything."""
        self._silent = rank > 0
        if self._silent:
            _log.setLevel(logging.ERROR)

    @property
    def as_json(self) -> bool:
        """True if the document replaces the text of the answer."""
        return self._file == ALONE

    @property
    def wants_document(self) -> bool:
        """True if there is to be a document, on standard output or in a file."""
        return self._file is not None and not self._silent

    @property
    def screen(self) -> Console:
        """Console for the text of the answer."""
        return self._console(sys.stdout, self.as_json)

    @property
    def messages(self) -> Console:
        """Console for progress and notes."""
        return self._console(sys.stderr, self._quiet)

    def _console(self, file: TextIO, without: bool) -> Console:
        from rich.console import Console

        return Console(file=file, highlight=False, emoji=False, quiet=without or self._silent)

    def answer(self, message: str = "") -> None:
        """Print a line of the answer."""
        _say(self.screen, message)

    def remark(self, message: str) -> None:
        """Print a line that goes before or after the answer."""
        if message or not self.as_json:
            _say(self.messages if self.as_json or self._quiet else self.screen, message)

    def message(self, message: str) -> None:
        """Print a line beside the answer."""
        _say(self.messages, message)

    def note(self, message: str) -> None:
        """Print a note, for what people should know of the answer."""
        self.message(f"note: {message}")

    def error(self, message: str) -> None:
        """Print why there is no answer, however quiet it is to be."""
        _say(self._console(sys.stderr, False), message)

    def document(self, content: Any) -> None:
        """Write the document of the answer; numbers that are none, such as NaN, are null."""
        from ampmix._support.json_files import jsonable, write_json

        if not self.wants_document:
            return
        if not self.as_json:
            write_json(Path(str(self._file)), jsonable(content))
            return
        with self.opened() as file:
            file.write(dumped(content, indent=1) + "\n")

    @contextlib.contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Open the document, for one that is written bit by bit."""
        from ampmix._support.files import whole

        if self.as_json:
            yield self._stdout
            self._stdout.flush()
            return
        path = Path(str(self._file))
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as draft, draft.open("w", encoding="utf-8") as file:
            yield file


def dumped(content: Any, indent: int | None = None) -> str:
    r"""JSON in ASCII: any terminal shows it, and no character in it commands one.

    >>> dumped({"né": [float("nan"), "\x1b\x7f"]})
    '{"n\\u00e9": [null, "\\u001b\\u007f"]}'
    """
    from ampmix._support.json_files import jsonable

    return json.dumps(jsonable(content), indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


@contextlib.contextmanager
def output_of(arguments: argparse.Namespace) -> Iterator[Output]:
    """Prepare the channels of a command for the time that it runs.

    Raises:
        AmpmixError: if the document's file cannot be one.
    """
    file = getattr(arguments, "json", None)
    if file is not None and file != ALONE and Path(file).is_dir():
        raise AmpmixError(f"--json {file} names a folder: name a file, such as answer.json")
    with contextlib.ExitStack() as stack:
        alone = file == ALONE
        stdout = stack.enter_context(_for_the_answer_alone()) if alone else sys.stdout
        if getattr(arguments, "quiet", False):
            stack.enter_context(_level(logging.ERROR))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        if getattr(arguments, "verbose", False):
            stack.enter_context(_details(arguments.command))
        yield Output(arguments, stdout)


@contextlib.contextmanager
def _for_the_answer_alone() -> Iterator[TextIO]:
    """Standard output for the document; what else is printed, by workers too, is on the other."""
    own, kept = sys.stdout, None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if own.fileno() == 1:
            own.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if kept is None:
                yield own
            else:
                with open(kept, "w", encoding="utf-8", closefd=False) as file:
                    yield file
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def _level(level: int) -> Iterator[None]:
    """The package's log at a level."""
    before = _log.level
    _log.setLevel(level)
    try:
        yield
    finally:
        _log.setLevel(before)


class _Lines(logging.Handler):
    """Log records as lines on standard error, after the seconds since the command began."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        passed = time.monotonic() - self._began
        print(f"{passed:7.1f} s  {printable(record.getMessage())}", file=sys.stderr)


@contextlib.contextmanager
def _details(command: str) -> Iterator[None]:
    """Show the package's log, what runs it before it, and what it took after it."""
    import platform

    from ampmix._support.cache import cache_folder
    from ampmix._support.cores import cores
    from ampmix.records.provenance import versions

    lines = _Lines()
    _log.addHandler(lines)
    began, computed = time.monotonic(), time.process_time()
    with _level(logging.INFO):
        told = ", ".join(f"{name} {version}" for name, version in versions().items())
        _log.info("python %s, %s", platform.python_version(), told)
        _log.info("%s; what can be made again is in %s", counted(cores(), "core"), cache_folder())
        try:
            yield
        finally:
            took, used = time.monotonic() - began, time.process_time() - computed
            _log.info("%s took %.1f s; this process computed for %.1f s", command, took, used)
            _log.removeHandler(lines)


def _say(console: Console, message: str) -> None:
    """Print a message without markup; lines in a pipe are not broken."""
    console.print(printable(message), markup=False, soft_wrap=not console.is_terminal)


def cut(texts: int, length: str) -> str:
    """A note on texts that were cut to a length.

    >>> cut(1, "512 tokens")
    '1 text was cut to 512 tokens'
    """
    return f"{counted(texts, 'text was', 'texts were')} cut to {length}"


def recorded(runs: int, out: Path) -> str:
    """Return the line that says all runs are recorded.

    >>> recorded(1, Path("out")), recorded(4, Path("out"))
    ('The 1 run is recorded in out', 'All 4 runs are recorded in out')
    """
    return (
        f"{'The' if runs == 1 else 'All'} {counted(runs, 'run is', 'runs are')} recorded in {out}"
    )


def interrupted(kept: int, runs: int, out: Path) -> str:
    """Return the line that says what an interruption has kept.

    >>> interrupted(0, 1, Path("out"))
    'Interrupted: 0 of 1 run is kept in out; the same command goes on from there.'
    """
    of_all = f"{kept} of {counted(runs, 'run is', 'runs are')}"
    return f"Interrupted: {of_all} kept in {out}; the same command goes on from there."
