"""List policies, backbones, baselines and data sets, with their options."""

from __future__ import annotations

import argparse
from typing import Any

from ampmix.cli.output import note
from ampmix.errors import AmpmixError

KINDS = {
    "policies": "policy",
    "backbones": "backbone",
    "baselines": "baseline",
    "datasets": "data set",
}
PACKAGES = tuple(KINDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix list` takes."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        choices=PACKAGES,
        help=f"{', '.join(PACKAGES)} (all)",
    )
    parser.add_argument(
        "--statistics",
        action="store_true",
        help="with datasets: compare the data with Table 1 of the paper",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.statistics:
        if arguments.what != "datasets":
            raise AmpmixError(
                "--statistics goes with data sets: use ampmix list datasets --statistics"
            )
        return _statistics()
    for package in (arguments.what,) if arguments.what else PACKAGES:
        print(package)
        _components(package)
    return 0


def _components(package: str) -> None:
    """Show ampmix's own, then those of installed packages, of which one may be broken."""
    from ampmix._support import components

    group = f"ampmix.{package}"
    for cls in components.find(group).values():
        _component(cls)
    for name, entry in components.entries(group).items():
        try:
            _component(components.load_entry(name, group, KINDS[package]), entry)
        except AmpmixError as error:
            note(str(error))
    for name in components.hidden(group):
        note(
            f"an installed package has a {KINDS[package]} {name} too: that of ampmix is "
            "used; give the other another name"
        )


def _component(cls: Any, entry: Any = None) -> None:
    from dataclasses import fields

    from ampmix._support import components

    options = ",".join(f"{f.name}={components.text_of(f.default)}" for f in fields(cls))
    first = next(iter((cls.__doc__ or "").strip().splitlines()), "")
    place = f" (package {entry.dist.name})" if entry is not None and entry.dist else ""
    print(f"  {cls.name}{f'[{options}]' if options else ''}{place}\n      {first}")


def _statistics() -> int:
    from dataclasses import asdict

    from rich.console import Console

    from ampmix.analysis.data_statistics import table1
    from ampmix.terminal.data_statistics import print_statistics

    rows = {title: (asdict(counted), printed) for title, (counted, printed) in table1().items()}
    print_statistics(rows, Console(highlight=False))
    return 0
