"""Find what is behind the errors of recorded runs: which texts, and which labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted, shortened
from ampmix.analysis.errors import Errors, errors, mean_probabilities
from ampmix.analysis.groups import read_runs
from ampmix.analysis.written import written_in
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.sample import sampled
from ampmix.data.splits import split_fold
from ampmix.errors import AmpmixError
from ampmix.records.store import RunRecord

SHOWN, LONGEST = 10, 200  # texts of a kind, letters of one, that a report shows
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunErrors:
    """Errors of runs, with the texts that they are about.

    Attributes:
        errors: what was found, texts by their index.
        data: the data set, or the sample of it that was compared.
        examples: the texts that were judged: its test set, else all of its training part.
        probabilities: those of the model that decides, ``[n, classes]``; NaN where there are none.
        notes: sentences on what was left out.
    """

    errors: Errors
    data: TextDataset
    examples: Examples
    probabilities: Floats
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``errors.json``, with the texts that a report shows."""
        found = self.errors
        indices = [*found.mislabelled[:SHOWN], *found.all_wrong[:SHOWN]]
        indices += [pair["texts"][0] for pair in found.confused]
        indices += [i for own in found.conflicts for i in own][:SHOWN]
        shown = {str(i): self._told(i) for i in indices}
        return found.as_json() | {"classes": list(self.data.classes), "shown": shown}

    def _told(self, index: int) -> dict[str, Any]:
        label, row = int(self.examples.labels[index]), self.probabilities[index]
        known = not np.isnan(row[0])
        return {
            "text": shortened(" ".join(self.examples.texts[index].split()), LONGEST),
            "label": self.data.classes[label],
            "predicted": self.data.classes[int(row.argmax())] if known else None,
            "probability": float(row[label]) if known else None,
        }


def find_errors(runs: str | Path, data: TextDataset) -> RunErrors:
    """Look for what is behind the errors of the runs in a folder.

    Args:
        runs: output folder of a comparison.
        data: what it was given; where it used a sample, that is drawn again.

    Raises:
        AmpmixError: the runs are of other data, or hold no probabilities; or cleanlab is missing.
    """
    written: Any = next((one.summary for one in written_in([runs])), {})
    data = sampled(data, written["sample"]) if written.get("sample") else data
    mine = [
        record
        for record in read_runs([runs]).records
        if record.done and record.specification["data_hash"] == data.fingerprint
    ]
    if not mine:
        raise AmpmixError(
            f"the runs in {str(runs)!r} are of other data than {data.name!r}: give the file, and "
            "the options that go with it, that ampmix compare was given"
        )
    examples, notes = data.train, list[str]()
    if data.test is not None:
        examples = data.test
        notes.append(
            "only the test texts are judged: leave --test out of both commands to judge all"
        )
    tables, strange = probabilities_of(mine, data, examples)
    if strange:
        notes.append(
            f"{counted(strange, 'run is', 'runs are')} left out: the test texts are others"
        )
    model = str(written.get("best"))
    if model not in tables:
        model = min(tables, key=lambda name: _error(tables[name], examples.labels))
    found = errors(examples.texts, examples.labels, tables, model)
    return RunErrors(found, data, examples, tables[model], tuple(notes))


def probabilities_of(
    records: Iterable[RunRecord], data: TextDataset, examples: Examples
) -> tuple[dict[str, Floats], int]:
    """Probabilities of each model for each of `examples`, of runs on the most labels.

    Returns:
        The tables by model, and how many runs were left out, whose test texts are others.

    Raises:
        AmpmixError: no run has any.
    """
    kept = [record for record in records if record.result.test_probabilities]
    if not kept:
        raise AmpmixError("the records hold no probabilities: run ampmix compare again")
    most = max(record.specification["fraction"] for record in kept)
    parts: dict[str, list[Any]] = defaultdict(list)
    strange = 0
    for record in kept:
        told = record.specification
        if told["fraction"] < most:
            continue
        if told["folds"] is None:
            indices = np.arange(len(examples))
        else:
            repeat, fold = divmod(told["seed"], told["folds"])
            indices = split_fold(data, fold, told["folds"], repeat).test_indices
        if not np.array_equal(record.result.labels(), examples.labels[indices]):
            strange += 1
            continue
        parts[_named(record)].append((indices, record.result.probabilities()))
    if not parts:
        raise AmpmixError("no run was tested on these texts: run ampmix compare again")
    sizes = len(examples), len(data.classes)
    return {name: mean_probabilities(own, *sizes) for name, own in parts.items()}, strange


def _named(record: RunRecord) -> str:
    policy = record.specification["policy"]
    alone = record.is_baseline or policy == "none"
    return record.model if alone else f"{record.model} with {policy}"


def _error(table: Floats, labels: npt.NDArray[np.int64]) -> float:
    known = ~np.isnan(table[:, 0])
    return float((table.argmax(1) != labels)[known].mean())
