"""Compare models, then policies on the best of them, and keep the best recipe's model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ampmix._support.json_files import write_json
from ampmix.data.dataset import TextDataset
from ampmix.errors import AmpmixError
from ampmix.studies.comparison import ComparisonRuns
from ampmix.studies.executors.pool import end_unless_guarded
from ampmix.studies.ladder import Ladder
from ampmix.studies.plan import Plan
from ampmix.studies.runner import Runner
from ampmix.studies.summary import Summary as Summary
from ampmix.terminal.progress import RunsProgress, in_notebook
from ampmix.terminal.watchers import Watcher
from ampmix.training.processes import ALONE, Processes


def compare(
    data: Plan | Ladder | TextDataset | str | Path,
    out: str | Path | None = None,
    *,
    workers: int = 0,
    replicas: int = 1,
    time_limit: float | None = None,
    watcher: Watcher | None = None,
    processes: Processes = ALONE,
    keep_fold: bool = False,
    progress: bool | None = None,
    **pieces: Any,
) -> Summary:
    """Compare models, then policies on the best that can mix; keep the best recipe's model.

    First each model of the ladder is trained without mixing with every seed, then every policy on
    the best of those that can mix. The best recipe is trained again on every label: the model with
    the lowest mean error (with a test set: development error), and policy ``none`` unless another
    was shown to err less.

    Writes to `out`: ``records/`` (one file a run, see :mod:`ampmix.records.store`),
    ``summary.json``, and ``model/``. Finished runs are never done again, whatever happens: after an
    interruption the same call goes on. A run that takes too long, or whose memory runs out, ends
    without a record; why stands in ``failures/``, and the same call tries it again.

    Args:
        data: a :class:`ampmix.Plan`, or what one is made of: a data set, its name, or a file.
        out: the output folder; ``ampmix-runs/NAME`` by default.
        workers: processes that train; 0 trains in this one. Results do not depend on it. A script
            that has workers must call this below ``if __name__ == "__main__":``.
        replicas: seeds of a policy that a worker trains at once (:mod:`ampmix.training.replicas`);
            the results depend on it by rounding alone.
        time_limit: seconds that a run may take; None for any.
        watcher: told of every step and record.
        processes: those that share out the runs (:func:`ampmix.training.processes.joined`), in one
            output folder; the first sums up when all are done.
        keep_fold: keep the model of the best policy's best seed, of a part of the labels, instead
            of training on all of them.
        progress: show a bar; by default in notebooks alone, and never beside a `watcher`.
        pieces: ``policies``, ``backbone``, ``models``, ``seeds``, ``steps`` and whatever else
            :meth:`ampmix.studies.ladder.Ladder.of` takes, if `data` is no plan.

    Returns:
        :class:`Summary`; ``print`` shows it as the command line does.

    Raises:
        AmpmixError: if `out` cannot be written to, a worker dies, or a component breaks its
            contract.

    >>> summary = compare("tickets.csv")                                          # doctest: +SKIP
    >>> print(summary.answer)                                                     # doctest: +SKIP
    """
    end_unless_guarded()
    steps = _ladder_of(data, out, workers, pieces)
    out = Path(out or Path("ampmix-runs") / steps.dataset.name)
    shown = in_notebook() if progress is None else progress
    with RunsProgress(1, 1, Console(stderr=not in_notebook(), quiet=not shown)) as bar:
        runner = Runner(out, workers, replicas, time_limit, watcher or bar, processes)
        summary = ComparisonRuns(steps, runner).summary(keep_fold)
    if processes.rank == 0:
        write_json(out / "summary.json", summary.as_json())
    processes.wait()
    return summary


def _ladder_of(data: Any, out: Any, workers: int, pieces: Mapping[str, Any]) -> Ladder:
    if isinstance(data, Plan | Ladder):
        if pieces:
            raise AmpmixError(
                f"{', '.join(pieces)} cannot be given with a Plan: make it part of that"
            )
        return data if isinstance(data, Ladder) else Ladder((data,))
    return Ladder.of(data, out=out, workers=workers or 1, **pieces)
