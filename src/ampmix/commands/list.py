"""Show what there is: policies, backbones and data sets, with their options."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ampmix list` takes."""


def act(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from dataclasses import fields

    from ampmix import components

    for package in ("policies", "backbones", "datasets"):
        print(package)
        for name, cls in components.find(f"ampmix.{package}").items():
            options = ",".join(f"{f.name}={components.text_of(f.default)}" for f in fields(cls))
            first = (cls.__doc__ or "").strip().splitlines()[0]
            print(f"  {name}{f'[{options}]' if options else ''}\n      {first}")
    return 0
