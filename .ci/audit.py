"""Known vulnerabilities of the pinned dependencies, by pip-audit; 1 if there are any.

    python .ci/audit.py

Where PyPI's records of releases cannot be reached, whole or in part, that is said and is no error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parent.parent / "constraints.txt"
COMMAND = [sys.executable, "-m", "pip_audit", "--requirement", str(PINNED)]
OPTIONS = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
PATIENCE = 300  # seconds


def verdict(found: dict[str, Any]) -> tuple[str, bool]:
    """What to say of pip-audit's JSON, and whether a vulnerability is known."""
    packages = found["dependencies"]
    known = [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in "
        f"{', '.join(weakness['fix_versions']) or 'no version yet'}"
        for package in packages
        for weakness in package.get("vulns", ())
    ]
    asked = sum("vulns" in package for package in packages)
    told = f"pip-audit: {asked} of {len(packages)} packages looked up, {len(known)} vulnerabilities"
    if not asked:
        told = "pip-audit: skipped, PyPI's records of releases cannot be reached from here"
    return "\n".join([told, *known]), bool(known)


def main() -> int:
    """Ask, say, and fail if a vulnerability is known."""
    try:
        done = subprocess.run(
            [*COMMAND, *OPTIONS], capture_output=True, text=True, timeout=PATIENCE
        )
        told, known = verdict(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        told, known = "pip-audit: skipped, it came to no end (is there a network?)", False
    print(told)
    return int(known)


if __name__ == "__main__":
    sys.exit(main())
