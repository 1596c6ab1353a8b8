"""Show what there is: policies, backbones and data sets, with their options."""

from __future__ import annotations

import argparse

from ampmix.errors import AmpmixError

PACKAGES = ("policies", "backbones", "datasets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix list` takes."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        choices=PACKAGES,
        help=f"{', '.join(PACKAGES)}; all of them without it",
    )
    parser.add_argument(
        "--statistics",
        action="store_true",
        help="of datasets: count Table 1 of the paper and show it beside the printed one",
    )


def act(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.statistics:
        if arguments.what != "datasets":
            raise AmpmixError(
                "--statistics are of data sets: say ampmix list datasets --statistics"
            )
        return _statistics()
    for package in (arguments.what,) if arguments.what else PACKAGES:
        print(package)
        _components(package)
    return 0


def _components(package: str) -> None:
    from dataclasses import fields

    from ampmix import components

    for name, cls in components.find(f"ampmix.{package}").items():
        options = ",".join(f"{f.name}={components.text_of(f.default)}" for f in fields(cls))
        first = (cls.__doc__ or "").strip().splitlines()[0]
        print(f"  {name}{f'[{options}]' if options else ''}\n      {first}")


def _statistics() -> int:
    from dataclasses import asdict

    from rich.console import Console

    from ampmix.datasets._statistics import table1
    from ampmix.report.data_statistics import print_statistics

    rows = {title: (asdict(counted), printed) for title, (counted, printed) in table1().items()}
    print_statistics(rows, Console(highlight=False))
    return 0
