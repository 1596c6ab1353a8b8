"""Find the folder for what can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder AMPMIX_CACHE, or else the user's cache folder; it may not be there yet."""
    return Path(os.environ.get("AMPMIX_CACHE") or platformdirs.user_cache_dir("ampmix"))
