"""Whether a record holds what readers of records take for granted: anybody can write a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGEST = 2**53  # whole numbers above it are not exact everywhere
_SPECIFICATION = {"dataset": str, "data_hash": str, "policy": str, "seed": int}
_DONE = {"split_hash": str, "test_wrong": str, "n_train": int, "n_dev": int, "n_test": int}
_PROVENANCE = {"versions": dict, "platform": str, "finished": str}


def fault(
    specification: Mapping[str, Any], result: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """What is wrong with the parts of a record, "" if nothing is.

    >>> fault({"dataset": "trec"}, {"status": "done"}, {})
    'its data_hash is no str'
    """
    return (
        _typed(specification, _SPECIFICATION)
        or _of_specification(specification)
        or (_of_done(result) if result.get("status") == "done" else _typed(result, {"error": str}))
        or _typed({**dict.fromkeys(_PROVENANCE), **provenance}, _PROVENANCE, optional=True)
        or _of_provenance(provenance)
    )


def _typed(part: Mapping[str, Any], kinds: Mapping[str, type], optional: bool = False) -> str:
    for name, kind in kinds.items():
        value = part.get(name)
        if optional and value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"its {name} is no {kind.__name__}"
        if isinstance(value, int) and not 0 <= value < LARGEST:
            return f"its {name} is {value:g}"
    return ""


def _of_specification(part: Mapping[str, Any]) -> str:
    if not _number(part.get("fraction")) or not 0 < part["fraction"] <= 1:
        return "its fraction is no number in (0, 1]"
    if "folds" not in part or not (part["folds"] is None or _count(part["folds"])):
        return "its folds are no number"
    if ("backbone" in part) != ("training" in part):
        return "it has a backbone without training, or training without a backbone"
    if "backbone" not in part:
        return ""
    if fault := _typed(part, {"backbone": str, "training": dict}):
        return fault
    flat = all(value is None or isinstance(value, str | bool) or _number(value)
               for value in part["training"].values())  # fmt: skip
    return "" if flat else "its training holds more than plain settings"


def _of_done(result: Mapping[str, Any]) -> str:
    if fault := _typed(result, _DONE):
        return fault
    if set(result["test_wrong"]) - {"0", "1"}:
        return "its test_wrong is no string of 0 and 1"
    if len(result["test_wrong"]) != result["n_test"] or not result["n_test"]:
        return "its test_wrong has not n_test digits"
    if not result["n_train"] + result["n_dev"]:
        return "it was trained on no texts"
    if "dev_error" in result and not _number(result["dev_error"]):
        return "its dev_error is no number"
    curve = result.get("curve", [])
    if not isinstance(curve, list) or not all(map(_reading, curve)):
        return "its curve is no list of readings"
    if "perturbation" in result and not _perturbation(result["perturbation"]):
        return "its perturbation holds no counts"
    return ""


def _of_provenance(part: Mapping[str, Any]) -> str:
    if not _number(part.get("seconds", 0)) or part.get("seconds", 0) < 0:
        return "its seconds are no number"
    if not isinstance(part.get("git") or {}, dict):
        return "its git state is no table"
    names = part.get("printed_as")
    if names is not None and not (
        isinstance(names, list) and len(names) == 2 and all(isinstance(n, str) for n in names)
    ):
        return "its printed_as is no pair of names"
    return ""


def _reading(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _count(value.get("step"))
        and all(_number(value.get(name)) for name in ("dev_error", "dev_loss"))
    )


def _perturbation(value: Any) -> bool:
    if not isinstance(value, dict) or not _count(value.get("examples")):
        return False
    for kind, counts in (("lam", ("counts",)), ("loss", ("up", "down"))):
        own = value.get(kind)
        if not isinstance(own, dict) or not _count(own.get("zero")):
            return False
        scale = [own.get(key) for key in ("from", "to", "per_decade")]
        low, high, bins = (n if isinstance(n, int) and abs(n) <= 100 else 0 for n in scale)
        if bins < 1 or high <= low:
            return False
        for name in counts:
            found = own.get(name)
            if not isinstance(found, list) or len(found) != (high - low) * bins + 2:
                return False
            if not all(map(_count, found)):
                return False
    return True


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < LARGEST
        and math.isfinite(value)
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST
