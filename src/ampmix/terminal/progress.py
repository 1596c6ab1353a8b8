"""Progress of a comparison: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Hashable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ampmix._support.wording import duration
from ampmix.terminal.watchers import Watcher

PLAIN_SHARE = 0.1  # of the work between plain lines


class RunsProgress(Watcher):
    """Progress over runs of equally many steps, as a context manager.

    Args:
        runs: how many runs are to be done.
        steps: steps of each.
        console: where to show it.
    """

    def __init__(self, runs: int, steps: int, console: Console) -> None:
        self._runs, self._steps, self._console = runs, steps, console
        self._at: dict[Hashable, int] = {}
        self._done = self._failed = 0
        self._started, self._said, self._reading = time.monotonic(), 0, ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=max(runs * steps, 1))

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
        if task not in self._at or self._at[task] < step:
            self._at[task] = step
        self._show()

    def on_reading(self, reading: Any) -> None:
        """The development set was read: show how the one run stands."""
        error = f"development error {reading.dev_error:.1%}"
        self._reading = f"step {reading.step}: loss {reading.train_loss:.3f}, {error}"

    def on_record(self, task: Hashable, record: Any) -> None:
        """A run is recorded."""
        self._end(task, not record.done)

    def on_failure(self, task: Hashable, error: str) -> None:
        """A run has ended without a record."""
        self._end(task, True)

    def _end(self, task: Hashable, failed: bool) -> None:
        self._at[task] = self._steps
        self._done += 1
        self._failed += failed
        self._show()

    def _show(self) -> None:
        steps = sum(self._at.values())
        failed = f", {self._failed} failed" if self._failed else ""
        done = f"{self._done} of {self._runs} runs{failed}"
        description = self._reading or "training" if self._runs == 1 else done
        self._bar.update(self._task, completed=steps, description=description)
        share = min(1.0, steps / max(self._runs * self._steps, 1))
        if not self._console.is_terminal and int(share / PLAIN_SHARE) > self._said:
            self._said = int(share / PLAIN_SHARE)
            left = (time.monotonic() - self._started) * (1 - share) / share
            self._console.print(f"{description}, {share:.0%}, about {duration(left)} left")
