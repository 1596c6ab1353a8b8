"""Progress of a comparison: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from statistics import fmean
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ampmix._support.wording import duration
from ampmix.terminal.watchers import Watcher

PLAIN_SHARE = 0.1  # of the work between plain lines


class RunsProgress(Watcher):
    """Progress over runs, as a context manager.

    Args:
        runs: how many runs are to be done, until :meth:`on_begin` says which.
        steps: steps of each.
        console: where to show it.
    """

    def __init__(self, runs: int, steps: int, console: Console) -> None:
        self._console, self._reading, self._what = console, "", ""
        self._begin(runs, steps)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0, left="")

    def _begin(self, runs: int, steps: int) -> None:
        self._runs, self._steps = runs, steps
        self._steps_of: Mapping[Hashable, int] = {}
        self._waiting: Counter[str] = Counter()
        self._began: dict[Hashable, float] = {}
        self._seconds: dict[str, list[float]] = {}
        self._at: dict[Hashable, float] = {}
        self._done = self._failed = 0
        self._started, self._said = time.monotonic(), 0

    def on_begin(self, steps: Mapping[Any, int], what: str) -> None:
        """Runs are to be done: how many steps each takes, at most, and what they are for.

        The time left weighs the runs of each plan and policy by the seconds that those recorded
        took, or those under way have taken.
        """
        if steps:
            self._begin(len(steps), max(steps.values()))
            self._what = what
            self._steps_of = steps
            self._waiting = Counter(map(_policy, steps))

    def __enter__(self) -> RunsProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on_step(self, task: Hashable, step: int) -> None:
        """A run has done so many steps."""
        self._began.setdefault(task, time.monotonic())
        share = min(1.0, step / max(self._steps_of.get(task, self._steps), 1))
        self._at[task] = max(share, self._at.get(task, 0.0))
        self._show()

    def on_reading(self, reading: Any) -> None:
        """The development set was read: show how the one run stands."""
        error = f"development error {reading.dev_error:.1%}"
        self._reading = f"step {reading.step}: loss {reading.train_loss:.3f}, {error}"

    def on_record(self, task: Hashable, record: Any) -> None:
        """A run is recorded."""
        if record.done and (took := getattr(record, "provenance", {}).get("seconds")):
            self._seconds.setdefault(_policy(task), []).append(took)
        self._end(task, not record.done)

    def on_failure(self, task: Hashable, error: str) -> None:
        """A run has ended without a record."""
        self._end(task, True)

    def _end(self, task: Hashable, failed: bool) -> None:
        self._at[task] = 1.0
        self._done += 1
        self._failed += failed
        self._show()

    def _show(self) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        if self._runs == 1:
            description = self._reading or self._what or "training"
        else:
            what = f"{self._what}: " if self._what else ""
            description = f"{what}{self._done} of {self._runs} runs{failed}"
        share = min(1.0, sum(self._at.values()) / max(self._runs, 1))
        tenth = int(share / PLAIN_SHARE) > self._said and not self._console.is_terminal
        if not share or not (tenth or self._console.is_terminal):
            return
        left = f"about {duration(self._left(share))} left"
        self._bar.update(self._task, completed=share, description=description, left=left)
        if tenth:
            self._said = int(share / PLAIN_SHARE)
            self._console.print(f"{description}, {share:.0%}, {left}")

    def _left(self, share: float) -> float:
        """Seconds left, at the pace so far; a run of each policy weighs what one has cost."""
        elapsed = time.monotonic() - self._started
        done: dict[str, float] = defaultdict(float)
        for task, share_done in self._at.items():
            done[_policy(task)] += share_done
        costs = {policy: cost for policy in self._waiting if (cost := self._cost(policy))}
        if len(costs) < 2 or set(done) - set(self._waiting):
            return elapsed * (1 - share) / share
        other = fmean(costs.values())
        work = {policy: costs.get(policy, other) for policy in self._waiting}
        did = sum(work[policy] * done[policy] for policy in work)
        return elapsed * (sum(work[p] * n for p, n in self._waiting.items()) - did) / did

    def _cost(self, policy: str) -> float:
        """Seconds of a run, from those recorded or else under way; 0 if nothing is known."""
        if known := self._seconds.get(policy):
            return fmean(known)
        now = time.monotonic()
        whole = [
            (now - self._began[task]) / share
            for task, share in self._at.items()
            if _policy(task) == policy and task in self._began and 0 < share < 1
        ]
        return fmean(whole) if whole else 0.0


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _policy(task: Hashable) -> str:
    """The plan and policy of a run, by which its cost goes."""
    run: Any = getattr(task, "run", None)
    return f"{getattr(task, 'plan', 0)} {run.policy}" if run is not None else str(task)
