"""Put a model's folder in another place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ampmix._support.files import drafting, put


def install(source: Path, target: Path) -> None:
    """Make `target` a copy of the model folder `source`, sharing the files where possible."""

    def link(original: str, copy: str) -> str:
        try:
            os.link(original, copy)
        except OSError:
            shutil.copyfile(original, copy)
        return copy

    with drafting(target.parent) as draft:
        shutil.copytree(source, draft / "ready", copy_function=link)
        put(draft / "ready", target)
