"""Result of a run as its record keeps it, and checks of a record's fields."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_PROBABILITIES = 2**24  # numbers that a record holds; of a larger test set it keeps none
ROUNDING = 0.01  # by which probabilities in float16 may miss a sum of 1


@dataclass(frozen=True, eq=False)
class Result(Mapping[str, Any]):
    """Result of a run. A field is None where the run, or the version that made it, has none.

    As a mapping it is the ``result`` of the record's JSON, keys that this version does not know
    among it. Reading does not check it, for a record of one's own is known by its digest;
    :meth:`problem` does, for those of strangers.

    Attributes:
        split_hash: of the split.
        n_train, n_dev, n_test: texts of each part.
        n_unlabelled: texts without labels that were trained on.
        unlabelled_hash: of these.
        notes: sentences on what went on.
        vectors: how many words have a pretrained vector.
        test_error: share of the test texts misclassified.
        test_wrong: a 0 or 1 for each test text, 1 where misclassified.
        test_classes: names of the classes, in the order of labels and columns.
        test_labels: true class of each test text, base64 of little-endian uint16.
        test_probabilities: of each class for each test text, base64 of little-endian float16.
        stopped: the step at which patience ran out.
        perturbation: how far MaxOp moved lam and the loss.
        status: ``done`` or ``failed``.
        test_reads: steps at which the test set was read.
        best_step, dev_error, dev_loss: of the chosen step.
        truncated: texts cut to ``max_length``.
        curve: the readings of the development set.
        error: why the run failed.
    """

    split_hash: str | None = None
    n_train: int | None = None
    n_dev: int | None = None
    n_test: int | None = None
    vectors: Mapping[str, Any] | None = None
    test_error: float | None = None
    test_wrong: str | None = field(default=None, repr=False)
    test_classes: Sequence[str] | None = None
    test_labels: str | None = field(default=None, repr=False)
    test_probabilities: str | None = field(default=None, repr=False)
    stopped: int | None = None
    perturbation: Mapping[str, Any] | None = None
    status: str | None = None
    test_reads: Sequence[int] | None = None
    best_step: int | None = None
    dev_error: float | None = None
    dev_loss: float | None = None
    truncated: int | None = None
    curve: Sequence[Mapping[str, Any]] | None = None
    error: str | None = None
    n_unlabelled: int | None = None
    unlabelled_hash: str | None = None
    notes: Sequence[str] | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Result:
        """The result in a record's JSON."""
        if isinstance(content, Result):
            return content
        own = {name: content[name] for name in _NAMES if content.get(name) is not None}
        return cls(**own, unknown={k: v for k, v in content.items() if k not in own})

    def as_json(self) -> dict[str, Any]:
        """As the record's JSON has it."""
        own = {name: getattr(self, name) for name in _NAMES}
        return {name: value for name, value in own.items() if value is not None} | {**self.unknown}

    def __getitem__(self, key: str) -> Any:
        return self.as_json()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_json())

    def __len__(self) -> int:
        return len(self.as_json())

    @classmethod
    def tested(
        cls,
        wrong: npt.NDArray[np.bool_],
        labels: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float32],
        classes: Sequence[str],
    ) -> dict[str, Any]:
        """The fields of a test set, as JSON has them.

        Args:
            wrong: where it was misclassified, ``[n_test]``.
            labels: true classes, ``[n_test]``.
            probabilities: ``[n_test, n_classes]``.
            classes: their names.
        """
        told: dict[str, Any] = {
            "test_error": float(wrong.mean()),
            "test_wrong": "".join("1" if w else "0" for w in wrong.tolist()),
        }
        if probabilities.size > MOST_PROBABILITIES or len(classes) > 2**16:
            return told
        return told | {
            "test_classes": list(classes),
            "test_labels": _packed(np.asarray(labels).astype("<u2")),
            "test_probabilities": _packed(probabilities.astype("<f2")),
        }

    @property
    def n_learned(self) -> int:
        """Texts that training saw: to learn from, or to choose the step by."""
        return (self.n_train or 0) + (self.n_dev or 0)

    @property
    def rank(self) -> tuple[float, float] | None:
        """Development error and loss, by which models are chosen; None for runs without them."""
        if self.dev_error is None or self.dev_loss is None:
            return None
        return self.dev_error, self.dev_loss

    def labels(self) -> npt.NDArray[np.int64]:
        """True class of each test text, ``[n_test]``, an index into ``test_classes``.

        Raises:
            ValueError: if the record has none, as those before version 0.2, or they are damaged.
        """
        found = _unpacked(self.test_labels, "<u2", "test_labels").astype(np.int64)
        if len(found) != self.n_test or (found >= len(self.test_classes or ())).any():
            raise ValueError("its test_labels are not the classes of n_test texts")
        return found

    def probabilities(self) -> npt.NDArray[np.float32]:
        """Probability of each class for each test text, ``[n_test, n_classes]``, to 3 digits.

        Rows are in the order of ``test_wrong``, columns in that of ``test_classes``.

        Raises:
            ValueError: if the record has none, as those before version 0.2, or they are damaged.
        """
        found = _unpacked(self.test_probabilities, "<f2", "test_probabilities").astype(np.float32)
        shape = self.n_test or 0, len(self.test_classes or ())
        if found.size != shape[0] * shape[1] or not found.size:
            raise ValueError("its test_probabilities are not n_test rows of a number a class")
        table = found.reshape(shape)
        if not ((table >= 0) & (table <= 1)).all() or (abs(table.sum(1) - 1) > ROUNDING).any():
            raise ValueError("its test_probabilities are no probabilities")
        return table

    def problem(self) -> str:
        """Describe the first problem of the result, "" if there is none."""
        return _of_done(self) if self.status == "done" else _typed(self, {"error": str})


def _packed(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _unpacked(text: Any, kind: str, name: str) -> npt.NDArray[Any]:
    if not isinstance(text, str):
        raise ValueError(f"its {name} are not there")
    if len(text) > 8 * MOST_PROBABILITIES:
        raise ValueError(f"its {name} are too many")
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), kind)
    except (binascii.Error, ValueError):
        raise ValueError(f"its {name} are no base64 of numbers") from None


def texts_tested(
    indices: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None
) -> dict[str, str]:
    """Return which texts a fold tested, as the provenance of its record has them.

    They follow from specification and data; whoever has the record alone reads them here. Base64 of
    little-endian uint32.

    Args:
        indices: of the test texts, ``[n_test]``.
        groups: of all texts of the data set, None where each stands alone.
    """
    told = {"test_indices": _packed(np.asarray(indices).astype("<u4"))}
    if groups is not None:
        told["test_groups"] = _packed(groups[indices].astype("<u4"))
    return told


def tested_indices(provenance: Mapping[str, Any], n_test: Any) -> npt.NDArray[np.int64] | None:
    """Which texts of the data set a fold tested, ``[n_test]``; None if its record does not say.

    Raises:
        ValueError: if they are damaged.
    """
    if provenance.get("test_indices") is None:
        return None
    found = _unpacked(provenance["test_indices"], "<u4", "test_indices").astype(np.int64)
    if len(found) != n_test or len(np.unique(found)) != len(found):
        raise ValueError("its test_indices are not n_test different texts")
    return found


def tested_groups(provenance: Mapping[str, Any], n_test: Any) -> npt.NDArray[np.int64] | None:
    """Group of each text that a fold tested, ``[n_test]``; None where each stands alone.

    Raises:
        ValueError: if they are damaged.
    """
    if provenance.get("test_groups") is None:
        return None
    found = _unpacked(provenance["test_groups"], "<u4", "test_groups").astype(np.int64)
    if len(found) != n_test:
        raise ValueError("its test_groups are not those of n_test texts")
    return found


_NAMES = tuple(f.name for f in fields(Result) if f.name != "unknown")
LARGEST = 2**53  # whole numbers above it are not exact everywhere
_SPECIFICATION = {"dataset": str, "data_hash": str, "policy": str, "seed": int}
_DONE = {"split_hash": str, "test_wrong": str, "n_train": int, "n_dev": int, "n_test": int}
_PROVENANCE = {"versions": dict, "platform": str, "finished": str}


def problem_in(
    specification: Mapping[str, Any], result: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """Describe the first problem in the parts of a record, "" if there is none.

    >>> problem_in({"dataset": "trec"}, {"status": "done"}, {})
    'its data_hash is no str'
    """
    return (
        _typed(specification, _SPECIFICATION)
        or _of_specification(specification)
        or Result.of_json(result).problem()
        or _typed({**dict.fromkeys(_PROVENANCE), **provenance}, _PROVENANCE, optional=True)
        or _of_provenance(provenance)
        or _of_texts(provenance, result.get("n_test"))
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
    for name in ("policy_source", "backbone_source", "backbone_version", "unlabelled"):
        if name in part and not isinstance(part[name], str):
            return f"its {name} is no str"
    if "backbone" not in part:
        return ""
    if problem := _typed(part, {"backbone": str, "training": dict}):
        return problem
    flat = all(value is None or isinstance(value, str | bool) or _number(value)
               for value in part["training"].values())  # fmt: skip
    return "" if flat else "its training holds more than plain settings"


def _of_done(result: Mapping[str, Any]) -> str:
    if problem := _typed(result, _DONE):
        return problem
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
    if problem := _of_unlabelled(result):
        return problem
    if "perturbation" in result and not _perturbation(result["perturbation"]):
        return "its perturbation holds no counts"
    return _of_predictions(result)


def _of_unlabelled(result: Mapping[str, Any]) -> str:
    if "n_unlabelled" in result and not _count(result["n_unlabelled"]):
        return "its n_unlabelled is no number"
    if not isinstance(result.get("unlabelled_hash", ""), str):
        return "its unlabelled_hash is no str"
    notes = result.get("notes", [])
    plain = isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    return "" if plain else "its notes are no list of sentences"


def _of_predictions(result: Mapping[str, Any]) -> str:
    names = ("test_classes", "test_labels", "test_probabilities")
    if not any(name in result for name in names):
        return ""  # a record of an earlier version
    classes = result.get("test_classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return "its test_classes are no list of names"
    try:
        Result.of_json(result).labels()
        Result.of_json(result).probabilities()
    except ValueError as error:
        return str(error)
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


def _of_texts(provenance: Mapping[str, Any], n_test: Any) -> str:
    try:
        tested_indices(provenance, n_test)
        tested_groups(provenance, n_test)
    except ValueError as error:
        return str(error)
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
