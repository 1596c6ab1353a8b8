"""All targets by name."""

from __future__ import annotations

from fuzz import archives, models, runs, specs, tables, texts, vectors
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (tables, vectors, specs, runs, models, archives, texts)
    for target in module.TARGETS
}
