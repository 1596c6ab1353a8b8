"""Outcome of a comparison."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix._support import components
from ampmix._support.redact import without_paths
from ampmix.analysis.answer import answer
from ampmix.analysis.comparison import ComparisonRow
from ampmix.analysis.ladder import Rung, Times
from ampmix.errors import printable
from ampmix.models.classifier import Classifier
from ampmix.records.store import BASELINE
from ampmix.statistics.metrics import MARGIN
from ampmix.studies.plan import Plan, Run

if TYPE_CHECKING:
    import polars

LONGEST_REPR = 400


@dataclass(frozen=True, repr=False)
class Summary:
    """Outcome of a comparison.

    Attributes:
        plan: the policies that were compared, on the best backbone that can mix.
        ladder: the models that were compared before, the simplest first.
        best: the model of the ladder to keep, its spec string; None if there is none.
        rows: the baseline, then the policies in their order.
        out: the output folder.
        folder: the folder of the model to keep, or None if every run failed.
        chosen: the model's policy.
        chosen_seed: the fold or seed that it is of, where it was not trained on every label.
        trained_on: texts that the model was trained on.
        learning_curve: error of the best cheap model at shares of the labels.
        sample: about how many of the texts were used; None for all.
        abstention: error of the model to keep on the texts it is surest of, by their share
            (:func:`ampmix.analysis.abstention.abstention`).
        truncated: texts that were cut, over training, development and test part of the run with
            most of them: seeds may keep different texts.
        trained: how many runs were done now; the others were recorded already.
        unfinished: runs without a record, and why; the same call tries them again.
        unreadable: record files that were set aside, with the reason.
        majority: class and error of always answering one class
            (:func:`ampmix.analysis.classes.majority`).
        margin: a difference below it does not matter, in points or hundredths of a nat.
        metric: what policies were compared by.
        looks: repeats, or seeds, after which the comparison was looked at, this time among them.
        most: repeats or seeds that a comparison that goes on until it is decided may have, else 0.
        tried_before: policies in the folder that count among the comparisons beside these.
    """

    plan: Plan
    ladder: tuple[Rung, ...]
    best: str | None
    rows: tuple[ComparisonRow, ...]
    out: Path
    folder: Path | None
    chosen: str | None
    chosen_seed: int | None
    trained_on: int | None
    learning_curve: tuple[Mapping[str, Any], ...]
    abstention: tuple[Mapping[str, float], ...]
    sample: int | None
    truncated: int
    trained: int
    unfinished: Mapping[Run, str]
    unreadable: tuple[tuple[Path, str], ...]
    majority: Mapping[str, Any] | None = None
    margin: float = MARGIN
    metric: str = "error"
    looks: tuple[int, ...] = ()
    most: int = 0
    tried_before: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The answer in two or three sentences."""
        return " ".join(answer(self.as_json()))

    @cached_property
    def model(self) -> Classifier | None:
        """The model to keep, None if every run failed."""
        return None if self.folder is None else Classifier.load(self.folder)

    @property
    def table(self) -> polars.DataFrame:
        """The models and policies, a row each, as a Polars table.

        Columns: ``kind`` (``model`` or ``policy``), ``name``, ``error``, ``difference``, ``low``
        and ``high`` of its interval (all in percent or points), ``p``, ``verdict``. The difference
        of a model is that to the best model, of a policy that to the baseline.
        """
        import polars

        models = [
            {"kind": "model", "name": row.model, "error": row.mean, "difference": row.difference,
             **_bounds(row.difference_interval), "p": None, "verdict": None}
            for row in self.ladder
        ]  # fmt: skip
        policies = [
            {"kind": "policy", "name": row.policy, "error": row.mean, "difference": row.difference,
             **_bounds(row.interval), "p": row.p, "verdict": row.decision}
            for row in self.rows
            if row.policy != BASELINE
        ]  # fmt: skip
        numbers = dict.fromkeys(("error", "difference", "low", "high", "p"), polars.Float64)
        schema = {"kind": polars.String, "name": polars.String, **numbers, "verdict": polars.String}
        return polars.DataFrame([*models, *policies], schema=schema)

    def report(self) -> Path:
        """Write ``report.html`` and ``report.md`` to the output folder; return the page's path.

        Raises:
            AmpmixError: without the packages of the extra ``report``.
        """
        from ampmix.studies.report import write_report

        write_report([self.out], self.out)
        return self.out / "report.html"

    def __repr__(self) -> str:
        return f"Summary({self.answer[:LONGEST_REPR]!r})"

    def _repr_html_(self) -> str:
        """The answer and the tables, for a notebook."""
        rows = [
            "<tr>"
            + "".join(f"<td>{html.escape(printable(_cell(cell)))}</td>" for cell in row)
            + "</tr>"
            for row in self.table.drop("kind").iter_rows()
        ]
        heads = "".join(f"<th>{name}</th>" for name in self.table.columns[1:])
        return (
            f"<p><strong>{html.escape(printable(self.answer))}</strong></p><table><thead><tr>{heads}</tr>"
            f"</thead><tbody>{''.join(rows)}</tbody></table>"
        )

    def __str__(self) -> str:
        """The answer, the tables and their sentences, as the command line prints them."""
        from rich.console import Console

        from ampmix.terminal.comparison import print_comparison

        console = Console(file=io.StringIO(), width=80, highlight=False)
        print_comparison(self.as_json(), console, self.times)
        return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined, no-any-return]

    @property
    def times(self) -> Times:
        """Seconds of a run and texts predicted in a second, by model."""
        return {without_paths(row.model): (row.seconds, row.per_second) for row in self.ladder}

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``summary.json``; errors and differences in percent."""
        plan = self.plan
        found = {
            "dataset": plan.dataset.name,
            "data_hash": plan.dataset.fingerprint,
            "classes": list(plan.dataset.classes),
            "notes": list(plan.dataset.notes),
            "sample": self.sample,
            "backbone": without_paths(components.spec(plan.backbone)),
            "title": plan.backbone.title,
            "seeds": plan.seeds,
            "repeats": plan.repeats,
            "fraction": plan.fraction,
            "redraw": plan.redraw,
            "design": "cross-validation" if plan.cross_validated else "test set",
            "margin": self.margin,
            "metric": self.metric,
            "looks": list(self.looks),
            "most": self.most,
            "tried_before": list(self.tried_before),
            "steps": plan.config.steps,
            "selection": plan.config.selection,
            "truncated": self.truncated,
            "ladder": [row.as_json() | {"model": without_paths(row.model)} for row in self.ladder],
            "best": None if self.best is None else without_paths(self.best),
            "baseline": plan.baseline,
            "rows": [row.as_json() for row in self.rows],
            "majority": self.majority,
            "learning_curve": list(self.learning_curve),
            "abstention": list(self.abstention),
            "model": None if self.folder is None else self._model(self.folder.name),
        }
        return {"answer": " ".join(answer(found)), **found}

    def _model(self, folder: str) -> dict[str, Any]:
        of_a_fold = self.chosen_seed is not None  # the policies' backbone, whatever is best
        spec = components.spec(self.plan.backbone) if of_a_fold else str(self.best)
        told = {"folder": folder, "model": without_paths(spec), "policy": self.chosen}
        return told | {"seed": self.chosen_seed, "texts": self.trained_on}


def _bounds(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
