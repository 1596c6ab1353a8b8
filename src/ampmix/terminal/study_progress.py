"""Progress of a study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ampmix._support.wording import counted, duration
from ampmix.errors import printable
from ampmix.terminal.progress import PLAIN_SHARE
from ampmix.terminal.watchers import Watcher

PLAIN_EVERY = 600.0  # seconds between plain lines, where no tenth of the runs has ended

ROWS = 20  # of the live table


@dataclass
class _Cell:
    """Status of every run of a plan."""

    label: str
    total: int
    done: int = 0
    failed: int = 0
    errors: dict[str, list[float]] = field(default_factory=dict)

    def best(self) -> str:
        """The policy with the lowest mean development error of those with most seeds."""
        if not self.errors:
            return ""
        most = max(map(len, self.errors.values()))
        means = {p: 100 * fmean(e) for p, e in self.errors.items() if len(e) == most}
        policy = min(means, key=lambda name: means[name])
        return f"{policy} {means[policy]:.1f} % ({counted(most, 'seed')})"


class StudyProgress(Watcher):
    """Progress over the runs of a study, as a context manager and a watcher of it.

    "Best" goes by the development error: nobody is shown a test error to choose by.

    Args:
        labels: what each plan is called.
        expected: how many seconds a run of (plan, policy) takes, of all that are to be done;
            seconds count relative to one another.
        tasks: all runs, as (plan, (policy, seed)).
        records: of those that were done before.
        steps: how many steps a run of each plan has.
        slots: how many run at once.
        console: where to show it.
    """

    def __init__(
        self,
        labels: Sequence[str],
        expected: Mapping[tuple[int, str], float],
        tasks: Sequence[Any],
        records: Mapping[Any, Any],
        steps: Sequence[int],
        slots: int,
        console: Console,
    ) -> None:
        self._console, self._steps, self._slots = console, steps, max(1, slots)
        self._expected = expected
        self._took: dict[tuple[int, str], list[float]] = {}
        self._cells = [_Cell(label, 0) for label in labels]
        self._left = {task for task in tasks if task not in records}
        self._at: dict[Any, int] = {}
        for task in tasks:
            self._cells[task.plan].total += 1
        for task, record in records.items():
            self._count(task, record)
            self._note_time(task, record)
        self._lost = 0
        self._started = self._said = time.monotonic()
        self._runs = max(1, sum(cell.total for cell in self._cells))
        self._next = PLAIN_SHARE + sum(c.done + c.failed for c in self._cells) / self._runs
        self._to_do = frozenset(self._left)
        self._live = Live(
            console=console, transient=True, auto_refresh=False, get_renderable=self._rendered
        )

    def __enter__(self) -> StudyProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def on_start(self, task: Any) -> None:
        """A run begins."""
        self._at[task] = 0
        self._show()

    def on_step(self, task: Any, step: int) -> None:
        """A run has done so many steps."""
        if task in self._at:
            self._at[task] = step
        self._show()

    def on_lost(self, task: Any) -> None:
        """A run's worker died."""
        self._lost += 1
        self._at[task] = 0
        self._say(f"{self._name(task)}: its worker died; begun anew")

    def on_record(self, task: Any, record: Any) -> None:
        """A run is recorded."""
        self._end(task)
        self._note_time(task, record)
        self._count(task, record)
        cell = self._cells[task.plan]
        if not record.done:
            self._say(f"{self._name(task)} failed: {record.result.error}")
        if cell.done + cell.failed == cell.total and not self._console.is_terminal:
            best = f", best on development: {cell.best()}" if cell.errors else ""
            self._say(f"{cell.label}: {counted(cell.total, 'run')} done{best}")
        self._show()

    def on_failure(self, task: Any, error: str) -> None:
        """A run has ended without a record."""
        self._end(task)
        self._cells[task.plan].failed += 1
        self._say(f"{self._name(task)} failed: {error}")

    def line(self) -> str:
        """Return the state of the study in a line."""
        done = sum(cell.done for cell in self._cells)
        failed = sum(cell.failed for cell in self._cells)
        parts = [f"{done} of {counted(sum(cell.total for cell in self._cells), 'run')} done"]
        parts += [f"{len(self._at)} running"] * bool(self._at)
        parts += [f"{failed} failed"] * bool(failed)
        parts += [f"{self._lost} begun anew"] * bool(self._lost)
        if (left := self.seconds_left()) is not None:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """Time left at the pace so far, or at the estimated pace before the first run ends.

        A run weighs what runs of its plan and policy took, else what was expected, as far as that
        held for others, else the mean of what is known of its plan, or of all.
        """
        seconds = self._seconds()
        work = sum(seconds[_kind(task)] for task in self._to_do)
        under_way = (t for t in self._at if t in self._left)
        rest = sum(seconds[_kind(task)] for task in self._left)
        rest -= sum(seconds[_kind(task)] * self._share(task) for task in under_way)
        if not self._left or work <= 0:
            return None
        did = work - rest
        if did / work < 0.01:
            return rest / self._slots if self._expected or self._took else None
        return rest * (time.monotonic() - self._started) / did

    def _seconds(self) -> dict[tuple[int, str], float]:
        """Seconds of a run of each plan and policy that is to be done."""
        took = {kind: fmean(own) for kind, own in self._took.items()}
        both = took.keys() & self._expected.keys()
        told = sum(self._expected[kind] for kind in both)
        some = told > 0.01 * sum(self._expected.values())  # TF-IDF's, say, tell nothing of others
        held = sum(took[kind] for kind in both) / told if some else 1.0
        known = {**{kind: held * own for kind, own in self._expected.items()}, **took}
        of_plans: dict[int, list[float]] = {}
        for (plan, _), seconds in known.items():
            of_plans.setdefault(plan, []).append(seconds)
        other = fmean(known.values()) if known else 1.0
        found = {}
        for kind in set(map(_kind, self._to_do)):
            found[kind] = known.get(kind, fmean(of_plans.get(kind[0], [other])))
        return found

    def _share(self, task: Any) -> float:
        share: float = self._at[task] / self._steps[task.plan]
        return min(1.0, share)

    def _name(self, task: Any) -> str:
        return f"{self._cells[task.plan].label}, {task.run.policy}, seed {task.run.seed}"

    def _end(self, task: Any) -> None:
        self._at.pop(task, None)
        self._left.discard(task)

    def _count(self, task: Any, record: Any) -> None:
        cell = self._cells[task.plan]
        cell.done += record.done
        cell.failed += not record.done
        if record.result.dev_error is not None:
            cell.errors.setdefault(task.run.policy, []).append(record.result.dev_error)

    def _note_time(self, task: Any, record: Any) -> None:
        if record.done and (took := record.provenance.get("seconds")):
            self._took.setdefault(_kind(task), []).append(float(took))

    def _say(self, message: str) -> None:
        wrap = not self._console.is_terminal
        self._console.print(printable(message), markup=False, soft_wrap=wrap)

    def _show(self) -> None:
        if self._console.is_terminal:
            self._live.refresh()
            return
        now, share = time.monotonic(), sum(c.done + c.failed for c in self._cells) / self._runs
        if share >= self._next or now - self._said > PLAIN_EVERY:
            self._said, self._next = now, share + PLAIN_SHARE
            self._say(self.line())

    def _rendered(self) -> RenderableType:
        """Cells that have begun and are not finished, then as many others as there is room for."""
        table = Table(box=None, pad_edge=False)
        for title in ("", "done", "failed", "best on development so far"):
            table.add_column(title, justify="right" if title in ("done", "failed") else "left")
        under_way = {task.plan for task in self._at}
        order = sorted(range(len(self._cells)), key=lambda i: (i not in under_way, i))
        for cell in (self._cells[i] for i in sorted(order[:ROWS])):
            done, failed = f"{cell.done}/{cell.total}", str(cell.failed or "")
            table.add_row(*map(Text, (cell.label, done, failed, cell.best())))
        hidden = max(0, len(self._cells) - ROWS)
        more = f" ({counted(hidden, 'more row')} not shown)" if hidden else ""
        return Group(table, Text(self.line() + more))


def _kind(task: Any) -> tuple[int, str]:
    """Plan and policy: runs that differ by the seed alone take about as long."""
    return task.plan, task.run.policy
