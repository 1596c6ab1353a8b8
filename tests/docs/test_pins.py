"""What `make` installs can be had on every Python of the versions that it is pinned for."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

specifiers = pytest.importorskip("packaging.specifiers")
PINS = Path(__file__).parents[2] / "constraints.txt"


def test_a_pin_needs_no_later_patch_of_python() -> None:
    """Debian 12 has Python 3.11.2: a release that asks for 3.11.5 cannot be installed there."""
    wanting = {}
    for name in re.findall(r"^([\w.-]+)==", PINS.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            needs = metadata.metadata(name)["Requires-Python"]
        except metadata.PackageNotFoundError:
            continue  # pinned for other systems
        if needs and not specifiers.SpecifierSet(needs).contains("3.11.0"):
            wanting[name] = needs
    assert not wanting
