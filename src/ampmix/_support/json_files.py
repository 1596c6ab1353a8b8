"""Write JSON files whole, and hash their content."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ampmix._support.files import whole
from ampmix.errors import AmpmixError


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft, draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")


def jsonable(content: Any) -> Any:
    """Return a value as JSON has it: null for numbers that are none, strings for paths.

    >>> jsonable({"error": float("nan"), "model": Path("model"), "sizes": (1, 2)})
    {'error': None, 'model': 'model', 'sizes': [1, 2]}
    """
    if isinstance(content, Mapping):
        return {str(key): jsonable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [jsonable(value) for value in content]
    if isinstance(content, float):
        return float(content) if math.isfinite(content) else None
    if content is None or isinstance(content, str | int):
        return content
    if hasattr(content, "tolist"):  # a number or an array of NumPy
        return jsonable(content.tolist())
    return str(content)


def check_writable(folder: Path) -> None:
    """Make the folder and write a file into it, so that a mistake shows before any work is done.

    Raises:
        AmpmixError: if that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise AmpmixError(
            f"cannot write to the output folder {folder} ({reason}): give another with --out"
        ) from error


def content_sha256(content: Any) -> str:
    """SHA-256 (hex) of JSON values, however they are laid out in a file and in whatever order."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
