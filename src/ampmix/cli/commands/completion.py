"""Print a script that completes commands and options in SHELL."""

from __future__ import annotations

import argparse

ANSWERS = False  # a script for a shell is no answer
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix completion` takes."""
    parser.add_argument(
        "shell", metavar="SHELL", choices=SHELLS, help=f"{', '.join(SHELLS)} (extra completion)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from ampmix._support.extras import needed
    from ampmix.cli.main import build_parser

    shtab = needed("shtab", "completion")
    print(shtab.complete(build_parser(), arguments.shell))
    return 0
