"""Watchers: objects that are notified while runs go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Watcher:
    """Is notified while a study goes on; a subclass overrides the events it needs.

    A task is a pair of a plan's number and a :class:`ampmix.studies.plan.Run`.
    """

    def on_begin(self, steps: Mapping[Any, int], what: str) -> None:
        """Runs are to be done now: how many steps each takes, and what they are for."""

    def on_start(self, task: Any) -> None:
        """A run begins."""

    def on_step(self, task: Any, step: int) -> None:
        """A run has done so many steps."""

    def on_lost(self, task: Any) -> None:
        """A run's worker died: it is begun anew."""

    def on_record(self, task: Any, record: Any) -> None:
        """A run is recorded, by this process or another."""

    def on_failure(self, task: Any, error: str) -> None:
        """A run has ended without a record."""


class Watchers(Watcher):
    """Tells several watchers all that it is told.

    Args:
        watchers: those to tell.
    """

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def on_begin(self, steps: Mapping[Any, int], what: str) -> None:
        """Tell all which runs are to be done."""
        self._tell("on_begin", steps, what)

    def on_start(self, task: Any) -> None:
        """Tell all that a run begins."""
        self._tell("on_start", task)

    def on_step(self, task: Any, step: int) -> None:
        """Tell all of a step."""
        self._tell("on_step", task, step)

    def on_lost(self, task: Any) -> None:
        """Tell all of a worker that died."""
        self._tell("on_lost", task)

    def on_record(self, task: Any, record: Any) -> None:
        """Tell all of a record."""
        self._tell("on_record", task, record)

    def on_failure(self, task: Any, error: str) -> None:
        """Tell all of a run without a record."""
        self._tell("on_failure", task, error)

    def _tell(self, event: str, *facts: Any) -> None:
        for watcher in self._watchers:
            getattr(watcher, event)(*facts)
