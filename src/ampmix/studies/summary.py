"""Outcome of a comparison."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ampmix._support import components
from ampmix._support.redact import without_paths
from ampmix.analysis.answer import answer
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.ladder import Rung
from ampmix.studies.plan import Plan, Run


@dataclass(frozen=True)
class Summary:
    """Outcome of a comparison.

    Attributes:
        plan: the policies that were compared, on the best backbone that can mix.
        ladder: the models that were compared before, the simplest first.
        best: the model of the ladder to keep, its spec string; None if there is none.
        rows: the baseline, then the policies in their order.
        model: the folder of the model to keep, or None if every run failed.
        chosen: the model's policy.
        chosen_seed: the fold or seed that it is of, where it was not trained on every label.
        trained_on: texts that the model was trained on.
        learning_curve: error of the best cheap model at shares of the labels.
        truncated: texts that were cut, over training, development and test part of the run with
            most of them: seeds may keep different texts.
        trained: how many runs were done now; the others were recorded already.
        unfinished: runs without a record, and why; the same call tries them again.
        unreadable: record files that were set aside, with the reason.
        majority: class and error of always answering one class
            (:func:`ampmix.analysis.classes.majority`).
    """

    plan: Plan
    ladder: tuple[Rung, ...]
    best: str | None
    rows: tuple[ComparisonRow, ...]
    model: Path | None
    chosen: str | None
    chosen_seed: int | None
    trained_on: int | None
    learning_curve: tuple[Mapping[str, Any], ...]
    truncated: int
    trained: int
    unfinished: Mapping[Run, str]
    unreadable: tuple[tuple[Path, str], ...]
    majority: Mapping[str, Any] | None = None

    @property
    def answer(self) -> str:
        """The answer in two or three sentences."""
        return " ".join(answer(self.as_json()))

    def __str__(self) -> str:
        """The answer, the tables and their sentences, as the command line prints them."""
        from rich.console import Console

        from ampmix.terminal.comparison import print_comparison

        console = Console(file=io.StringIO(), width=80, highlight=False)
        print_comparison(self.as_json(), console)
        return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined, no-any-return]

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``summary.json``; errors and differences in percent."""
        plan = self.plan
        found = {
            "dataset": plan.dataset.name,
            "data_hash": plan.dataset.fingerprint,
            "classes": list(plan.dataset.classes),
            "notes": list(plan.dataset.notes),
            "backbone": without_paths(components.spec(plan.backbone)),
            "seeds": plan.seeds,
            "fraction": plan.fraction,
            "design": "cross-validation" if plan.cross_validated else "test set",
            "steps": plan.config.steps,
            "selection": plan.config.selection,
            "truncated": self.truncated,
            "ladder": [row.as_json() | {"model": without_paths(row.model)} for row in self.ladder],
            "best": None if self.best is None else without_paths(self.best),
            "baseline": plan.baseline,
            "rows": [row.as_json() for row in self.rows],
            "majority": self.majority,
            "learning_curve": list(self.learning_curve),
            "model": None if self.model is None else self._model(self.model.name),
        }
        return {"answer": " ".join(answer(found)), **found}

    def _model(self, folder: str) -> dict[str, Any]:
        spec = self.best or components.spec(self.plan.backbone)
        told = {"folder": folder, "model": without_paths(spec), "policy": self.chosen}
        return told | {"seed": self.chosen_seed, "texts": self.trained_on}
