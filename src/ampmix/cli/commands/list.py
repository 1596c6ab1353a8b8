"""List policies, backbones, baselines and data sets, with their options."""

from __future__ import annotations

import argparse
from typing import Any

from ampmix.cli.output import Output
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
        return _statistics(arguments.output)
    output, found = arguments.output, {}
    for package in (arguments.what,) if arguments.what else PACKAGES:
        output.answer(package)
        found[package] = _components(package, output)
    output.document(found)
    return 0


def _components(package: str, output: Output) -> list[dict[str, Any]]:
    """Show ampmix's own, then those of installed packages, of which one may be broken."""
    from ampmix._support import components

    group = f"ampmix.{package}"
    found = [_component(cls, output) for cls in components.find(group).values()]
    for name, entry in components.entries(group).items():
        try:
            cls = components.load_entry(name, group, KINDS[package])
            found.append(_component(cls, output, entry))
        except AmpmixError as error:
            output.note(str(error))
    for name in components.hidden(group):
        output.note(
            f"an installed package has a {KINDS[package]} {name} too: that of ampmix is "
            "used; give the other another name"
        )
    return found


def _component(cls: Any, output: Output, entry: Any = None) -> dict[str, Any]:
    from dataclasses import fields

    from ampmix._support import components

    options = ",".join(f"{f.name}={components.text_of(f.default)}" for f in fields(cls))
    first = next(iter((cls.__doc__ or "").strip().splitlines()), "")
    package = entry.dist.name if entry is not None and entry.dist else None
    place = "" if package is None else f" (package {package})"
    output.answer(f"  {cls.name}{f'[{options}]' if options else ''}{place}\n      {first}")
    values = {field.name: field.default for field in fields(cls)}
    return {"name": cls.name, "options": values, "about": first, "package": package}


def _statistics(output: Output) -> int:
    from dataclasses import asdict

    from ampmix.analysis.data_statistics import table1
    from ampmix.terminal.data_statistics import print_statistics

    rows = {title: (asdict(counted), printed) for title, (counted, printed) in table1().items()}
    print_statistics(rows, output.screen)
    output.document(
        {name: {"counted": own, "printed": printed} for name, (own, printed) in rows.items()}
    )
    return 0
