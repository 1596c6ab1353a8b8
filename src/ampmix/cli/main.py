"""The command line: parsing, errors, interruption. The commands are in
:mod:`ampmix.cli.commands`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import itertools
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from ampmix import __version__
from ampmix.cli import commands
from ampmix.cli.output import ALONE, INTERRUPTED, add_output, output_of
from ampmix.errors import AmpmixError, out_of_memory, printable


class _Parser(argparse.ArgumentParser):
    """argparse with one-sentence errors: near names for options that do not exist.

    The file that ``--json`` may have is one of that name, so that DATA after it is not taken for
    it: ``--json tickets.csv`` is ``tickets.csv --json``.
    """

    _without_file = False

    def error(self, message: str) -> NoReturn:
        raise AmpmixError(f"{message} (ampmix --help lists what there is)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; see :class:`argparse.ArgumentParser`."""
        given = list(sys.argv[1:] if args is None else args)
        for place, (one, after) in enumerate(itertools.pairwise([*given, ""])):
            if one == "--":
                break
            if one == "--json" and not after.lower().endswith(".json"):
                given[place] = f"--json={ALONE}"
        self._without_file = f"--json={ALONE}" in given
        return super().parse_known_args(given, namespace)

    @property
    def options(self) -> list[str]:
        """The options that this command takes."""
        return [name for action in self._actions for name in action.option_strings]

    def reject(self, extra: Sequence[str]) -> NoReturn:
        """Raise for arguments that no option takes."""
        known = self.options
        if not extra[0].startswith("-"):
            hints = ["give one DATA"] if "--test" in known else []
            hints.append("quote spec strings")
            hints += ["name a test set with --test"] if "--test" in known else []
            hints += ["give --json a name that ends in .json"] if self._without_file else []
            raise AmpmixError(f"unexpected argument {extra[0]!r}: {', and '.join(hints)}")
        near = difflib.get_close_matches(extra[0].split("=")[0], known, n=2, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "ampmix COMMAND --help lists what there is"
        )
        raise AmpmixError(f"unknown option {extra[0]!r}: {hint}")


def build_parser() -> _Parser:
    """The parser of all commands, one for each module of :mod:`ampmix.cli.commands`."""
    parser = _Parser(prog="ampmix", allow_abbrev=False)
    parser.description = "Regularise text classifiers with Mixup and AMP; see whether it helped."
    parser.add_argument("--version", action="version", version=f"ampmix {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for info in pkgutil.iter_modules(commands.__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{commands.__name__}.{info.name}")
        title = (module.__doc__ or "").strip().splitlines()[0]
        command = subparsers.add_parser(
            info.name, help=title, description=title, allow_abbrev=False
        )
        module.add_arguments(command)
        if getattr(module, "ANSWERS", True):
            add_output(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(run=module.run, parser=command)
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C or SIGTERM: stop in good order; a second one must not disturb that."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    if _importing(frame):
        # what PyTorch does in C++ when it is imported aborts at an exception, and tells of pages of
        # its own; nothing is under way here that the next command would not tidy up
        os.write(2, b"Interrupted.\n")
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    """Return True if a module is being imported where a signal arrived."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for what the user can mend, 130 if interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    for interrupting in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupting, _interrupt)
    try:
        parsed, extra = build_parser().parse_known_args(arguments)
        if extra:
            getattr(parsed, "parser", build_parser()).reject(extra)
        if parsed.command is None:
            build_parser().print_help()
            return 2
        with output_of(parsed) as parsed.output:
            return int(parsed.run(parsed))
    except AmpmixError as error:
        if debug:
            traceback.print_exc()
        print(f"ampmix: {printable(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f": {error.filename}" if error.filename else ""
        print(f"ampmix: {error.strerror or error}{where}; finished runs are kept", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if debug:
            traceback.print_exc()
        told = (str(error).splitlines() or ["by Python"])[0]
        print(f"ampmix: memory ran out ({told}){_advice(parsed.parser)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def _advice(parser: _Parser) -> str:
    """Advice on memory, with the options that the command has."""
    wanted = ("--workers", "--batch-size", "--max-length")
    found = [option for option in wanted if option in parser.options]
    return f"; finished runs are kept: use less {' or '.join(found)}" if found else ""


def _swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    """An interruption that came while something was cleared away, where nobody can catch it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os.write(2, b"Interrupted.\n")
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(unraisable)


def run() -> NoReturn:
    """The console script: :func:`main` as a process of its own."""
    sys.unraisablehook = _swallowed
    try:
        code = main()
    except KeyboardInterrupt:  # after main had said all
        code = INTERRUPTED
    for late in (signal.SIGINT, signal.SIGTERM):
        signal.signal(late, signal.SIG_IGN)
    sys.exit(code)
