"""Fixtures shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trec_data() -> Path:
    """The folder with the real data sets; CI must have it, elsewhere its tests are skipped."""
    folder = os.environ.get("AMPMIX_DATA", "")
    if folder and Path(folder, "sent-conv", "TREC.train.all").is_file():
        return Path(folder)
    if os.environ.get("CI") == "true":
        pytest.fail("AMPMIX_DATA must point to the data sets in CI")
    pytest.skip("AMPMIX_DATA is not set")
