"""What can happen: each fault, once planned, is the same again from its seed."""

from __future__ import annotations

import errno
import functools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from scenarios import Scenario
from shim import (
    ALL,
    CHANGES,
    FAIL_ON,
    FAIL_ONCE,
    KILL,
    NAMES,
    OPS,
    ROOM,
    SIGNAL,
    SLOW,
    TEAR,
    Shim,
    mask,
)

from ampmix.training import step

TEN_YEARS = 10 * 365 * 86400


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: what people call it.
        where: ``io`` (at a call of the system), ``moment`` (at a call of a Python function),
            ``step`` (at a training step of a worker), ``clock``, ``two`` (a second process),
            ``process`` (after so many milliseconds of a process that imports everything anew: not
            the same again from its seed).
        at: at which of them.
        mode, value, mask: as ``shim.c`` has them; `value` is an errno or a signal.
    """

    kind: str
    where: str
    at: int = 0
    mode: int = 0
    value: int = 0
    mask: int = ALL

    def __str__(self) -> str:
        return f"{self.kind} at {self.where} {self.at}" if self.at else self.kind


IO = (
    Fault("kill -9", "io", mode=KILL, mask=CHANGES),
    Fault("power cut in a write", "io", mode=TEAR, mask=mask("write")),
    Fault("SIGTERM", "io", mode=SIGNAL, value=signal.SIGTERM),
    Fault("SIGINT", "io", mode=SIGNAL, value=signal.SIGINT),
    Fault("disk full", "io", mode=FAIL_ON, value=errno.ENOSPC, mask=ROOM),
    Fault("disk full for a moment", "io", mode=FAIL_ONCE, value=errno.ENOSPC, mask=ROOM),
    Fault("quota exceeded", "io", mode=FAIL_ON, value=errno.EDQUOT, mask=ROOM),
    Fault("read-only", "io", mode=FAIL_ON, value=errno.EROFS, mask=CHANGES),
    Fault("permission lost", "io", mode=FAIL_ON, value=errno.EACCES, mask=NAMES),
    Fault("I/O error", "io", mode=FAIL_ONCE, value=errno.EIO, mask=ALL & ~mask("lock")),
    Fault("dying disk", "io", mode=FAIL_ON, value=errno.EIO, mask=ALL & ~mask("lock")),
    Fault("fsync fails", "io", mode=FAIL_ONCE, value=errno.EIO, mask=mask("fsync")),
    Fault("rename fails", "io", mode=FAIL_ONCE, value=errno.EIO, mask=mask("rename")),
    Fault("locks fail", "io", mode=FAIL_ON, value=errno.ENOLCK, mask=mask("lock")),
)
MOMENT = (
    Fault("kill -9", "moment", value=signal.SIGKILL),
    Fault("SIGTERM", "moment", value=signal.SIGTERM),
    Fault("SIGINT", "moment", value=signal.SIGINT),
)
PARENT = Fault("kill -9 of the parent alone", "moment", value=-signal.SIGKILL)
STEP = tuple(
    Fault(kind, "step")
    for kind in (
        *("worker killed", "worker stopped", "worker hangs", "torch has no memory", "no memory"),
        *("NaN", "infinity"),
    )
)
TWO = (
    Fault("two processes", "two"),
    Fault("two processes, one killed", "two", mode=KILL, mask=CHANGES),
)
PROCESS = tuple(
    Fault(f"{name} to a new process", "process", value=number)
    for name, number in (
        *(("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT)),
    )
)
ONCE = (
    Fault("slow disk", "io", mode=SLOW, value=1500),
    Fault("clock jumps", "clock", value=TEN_YEARS),
)
LIMITED = ("worker stopped", "worker hangs")
NEED_WORKERS = ("worker killed", *LIMITED, PARENT.kind)


def candidates(
    scenario: Scenario,
    per_op: list[int],
    moments: int,
    steps: int,
    draw: random.Random,
    anew: bool,
) -> Iterator[list[tuple[Scenario, Fault]]]:
    """For each kind of fault, where it can strike a scenario, in random order.

    With `anew` also those that need a process that imports everything anew.
    """

    def at(fault: Fault, places: Sequence[int]) -> list[tuple[Scenario, Fault]]:
        made = [(scenario, Fault(**{**vars(fault), "at": place})) for place in places]
        draw.shuffle(made)
        return made

    for fault in IO:
        calls = sum(per_op[i] for i in range(len(OPS)) if fault.mask >> i & 1)
        yield at(fault, range(1, calls + 1))
    some = sorted(draw.sample(range(1, moments), min(60, moments - 1)))
    for fault in (*MOMENT, PARENT) if scenario.workers else MOMENT:
        yield at(fault, some)
    if scenario.runs:
        for fault in STEP:
            if scenario.workers or fault.kind not in NEED_WORKERS:
                yield at(fault, range(1, steps + 1))
    changes = sum(per_op[i] for i in range(len(OPS)) if CHANGES >> i & 1)
    yield [(scenario, TWO[0])]
    yield at(TWO[1], range(1, changes + 1))
    if anew and not callable(scenario.command):
        delays = [draw.randint(20, 6000) for _ in range(4)]
        for fault in PROCESS:
            yield at(fault, delays)
    for fault in ONCE:
        yield [(scenario, fault)]


def plan(kinds: list[list[tuple[Scenario, Fault]]], count: int) -> list[tuple[Scenario, Fault]]:
    """So many faults: one of each kind in each scenario, then a second of each, and so on."""
    made: list[tuple[Scenario, Fault]] = []
    while len(made) < count and any(kinds):
        made += [kind.pop() for kind in kinds if kind]
    return made[:count]


# ------------------------------------------------------------------ in the process that suffers


def install(fault: Fault, shim: Shim, seen: Any) -> None:
    """Make a fault happen to this process and those it forks; `seen` is shared with the parent."""
    shim.arm()
    if fault.where == "moment":
        _at_moment(fault, seen)
    if fault.where == "step":
        _at_step(fault, seen)


def _at_moment(fault: Fault, seen: Any) -> None:
    count, mine = 0, os.getpid()

    def tick(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += 1
        if count == fault.at and os.getpid() == mine:
            seen.value += 1
            if fault.value == signal.SIGKILL:
                os.killpg(0, signal.SIGKILL)
            os.kill(mine, abs(fault.value))

    sys.setprofile(tick)


def counting(into: Any) -> None:
    """Count calls of functions from now on, in this process alone."""
    mine = os.getpid()

    def tick(frame: FrameType, event: str, argument: Any) -> None:
        if os.getpid() == mine:
            into.value += 1

    sys.setprofile(tick)


def _at_step(fault: Fault, seen: Any) -> None:
    """Count training steps over all processes; at the given one it happens."""
    forward = step.TrainingStep.forward

    @functools.wraps(forward)
    def suffering(self: Any, *batch: Any) -> Any:
        with seen.get_lock():
            seen.value += 1
            now = seen.value == fault.at
        loss = forward(self, *batch)
        if now:
            return _suffer(fault.kind, loss)
        return loss

    step.TrainingStep.forward = suffering  # type: ignore[method-assign]


def count_steps(into: Any) -> None:
    """Count training steps over all processes."""
    _at_step(Fault("", "step", -1), into)


def _suffer(kind: str, loss: Any) -> Any:
    if kind == "worker killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "worker stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "worker hangs":
        while True:
            time.sleep(1)
    elif kind == "torch has no memory":
        torch.empty(2**46)
    elif kind == "no memory":
        bytearray(2**62)
    return loss * float({"NaN": "nan", "infinity": "inf"}.get(kind, "1"))
