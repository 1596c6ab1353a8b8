"""Disturb ampmix in many ways; is anything lost, half-written, or not to be resumed?

    python torture/run.py [--seed 0] [--faults 500] [--only NAME] [--number I] [--json FILE]

A process that has imported everything forks a child for each fault, which runs a command on tiny
data and suffers. Then it is asked: did the child end in good order, with an exit code that is
documented and without a traceback? Is every file that can be seen whole? Does the same command,
undisturbed, end with exactly the files of one that never was disturbed, and none besides? Does it
leave the records alone that were there?
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shim as shims

PATIENCE = 300.0  # seconds for a command that takes less than one
LIMIT = "3"  # seconds a run, where one hangs


@dataclass
class End:
    """How a command ended: its exit code, or minus a signal, and what it wrote on stderr."""

    code: int
    said: str
    seconds: float


@dataclass
class Bench:
    """Where all is done.

    Attributes:
        folder: for everything.
        shim: lets calls fail.
        seen: a number that forked processes share.
    """

    folder: Path
    shim: shims.Shim
    seen: Any = field(default_factory=lambda: multiprocessing.Value("l", 0))

    @property
    def work(self) -> Path:
        """The folder that commands work in."""
        return self.folder / "work"

    def fork(self, act: Callable[[], None], name: str = "one") -> int:
        """Begin something in a child with a group of its own, in the folder for work."""
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        code = 70
        try:
            os.setsid()
            os.chdir(self.work)
            for number in (1, 2):
                file = os.open(self.folder / f"{name}.{number}", os.O_WRONLY | os.O_CREAT, 0o644)
                os.ftruncate(file, 0)
                os.dup2(file, number)
            _fork_workers()
            act()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            sys.setprofile(None)
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def wait(self, pid: int, name: str = "one", patience: float = PATIENCE) -> End:
        """Until it has ended; -9 with "it hangs" where it does not."""
        started, hangs = time.monotonic(), ""
        descriptor = os.pidfd_open(pid)
        if not select.select([descriptor], [], [], patience)[0]:
            hangs = "it hangs\n"
            os.killpg(pid, signal.SIGKILL)
        os.close(descriptor)
        ended = os.waitpid(pid, 0)
        said = (self.folder / f"{name}.2").read_text(errors="replace")
        code = os.waitstatus_to_exitcode(ended[1])
        return End(code, said + hangs, time.monotonic() - started)

    def undisturbed(self, act: Callable[[], None]) -> End:
        """The same without a fault."""
        self.shim.set(None)
        pid = self.fork(act)
        end = self.wait(pid)
        gone(pid)
        return end


def _fork_workers() -> None:
    """Workers are forked, not spawned: they need not import torch for two seconds."""
    forking = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda *_: forking  # type: ignore[assignment]


def gone(group: int, patience: float = 60.0) -> bool:
    """Wait until no process of a group is left; in the end see to it."""
    end = time.monotonic() + patience
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
        return False
    return True


@dataclass(frozen=True)
class Finding:
    """A fault after which something was wrong."""

    number: int
    scenario: str
    fault: str
    problems: list[str]


def suffer(bench: Bench, scenario: Any, fault: Any, template: Path, wanted: dict[str, str]) -> Any:
    """Let a fault happen to a scenario: whether it did, and what was wrong after it."""
    import faults
    import scenarios

    scenarios.copied(template, bench.work)
    before, kept = scenarios.state(bench.work), _records(bench.work)
    limited = fault.kind in faults.LIMITED
    disturbed = scenario
    if limited:
        disturbed = faults_with_limit(scenario)
    bench.seen.value = 0
    jump = fault.value if fault.where == "clock" else 0
    io = fault.mode or fault.where == "clock"
    bench.shim.set(
        bench.work if io else None,
        fault.mode,
        fault.at,
        value=fault.value,
        mask=fault.mask,
        jump=jump,
    )

    def act() -> None:
        if fault.where == "process":
            disturbed.act_as_new()
        faults.install(fault, bench.shim, bench.seen)
        disturbed.act()

    first = bench.fork(act)
    if fault.where == "process":
        time.sleep(fault.at / 1000)
        os.kill(first, fault.value)
    other = bench.fork(act, "other") if fault.where == "two" else None
    ends = [bench.wait(first)]
    if other is not None:
        ends.append(bench.wait(other, "other"))
    struck = _struck(bench, fault)
    bench.shim.set(None)
    problems = [text for end in ends for text in _bad_end(end, fault, scenario)]
    orphans = fault.kind == faults.PARENT.kind or fault.where == "process"
    if not orphans and not gone(first):
        problems.append("processes are left over")
    if other is not None:
        gone(other)
    if fault.kind not in ("NaN", "infinity"):
        failed = any(end.code == 1 for end in ends)
        problems += scenarios.unhealthy(bench.work, before, wanted, failed)
    if fault.kind in ("NaN", "infinity"):
        problems += _failed_record(bench.work)
    records = _records(bench.work)
    problems += _made_again(kept, records)
    again = bench.undisturbed(scenario.act)
    if orphans and not gone(first):
        problems.append("workers outlive their parent")
    if orphans:  # what they wrote last is theirs to leave: the command is given once more
        again = bench.undisturbed(scenario.act)
    if again.code:
        problems.append(f"the same command ended with {again.code}: {again.said.strip()[-300:]}")
    else:
        problems += _differences(scenarios.state(bench.work), wanted)
    return struck, problems + _made_again(records, _records(bench.work))


def faults_with_limit(scenario: Any) -> Any:
    """The same command with a time limit."""
    from dataclasses import replace

    return replace(scenario, command=(*scenario.command, "--time-limit", LIMIT))


def _struck(bench: Bench, fault: Any) -> bool:
    if fault.where in ("clock", "process") or fault.kind in ("two processes", "slow disk"):
        return True
    if fault.where == "step":
        return bool(bench.seen.value >= fault.at)
    return bool(bench.seen.value or bench.shim.control.hits)


def _bad_end(end: End, fault: Any, scenario: Any) -> list[str]:
    """What was wrong with how a process ended."""
    if callable(scenario.command) and fault.kind == "SIGTERM" and end.code == -signal.SIGTERM:
        return []  # a library leaves signals to the program that it is part of
    killed = {-signal.SIGKILL} if "kill" in fault.kind or "power" in fault.kind else set()
    if fault.where == "process" and not end.said.strip():
        killed |= {-fault.value}  # Python had not come to ampmix yet
    if fault.where == "process" and "KeyboardInterrupt" in end.said and "ampmix" not in end.said:
        return []  # Python itself was still starting
    if fault.where == "process" and end.said.strip() == "Interrupted.":
        killed |= {-signal.SIGINT}  # Python's way to say so; a shell calls it 130 too
    if end.code not in {0, 1, 2, 130} | killed:
        return [f"it ended with {end.code}: {end.said.strip()[-700:]}"]
    problems = []
    for word in ("Traceback", "Exception ignored", "it hangs", "Error in "):
        if word in end.said and end.code not in killed:
            problems.append(f"it said {word}: {end.said.strip()[-700:]}")
    if end.code == 2 and not end.said.rpartition("\nampmix: ")[2].count("\n") <= 2:
        problems.append(f"more than a sentence: {end.said.strip()[-700:]}")
    if end.code == 2 and not end.said.strip():
        problems.append("it said nothing")
    if fault.kind in ("clock jumps", "slow disk", "two processes") and end.code:
        problems.append(f"it ended with {end.code}: {end.said.strip()[-700:]}")
    if fault.kind in ("NaN", "infinity", "worker killed") and end.code:
        problems.append(f"it ended with {end.code}: {end.said.strip()[-700:]}")
    if fault.kind in ("no memory", "torch has no memory") and end.code not in (1, 2):
        problems.append(f"it ended with {end.code}")
    if fault.kind in ("worker hangs", "worker stopped") and end.code != 1:
        problems.append(f"it ended with {end.code}: {end.said.strip()[-300:]}")
    return problems


def _failed_record(work: Path) -> list[str]:
    """There is one record of a failure, with its reason; it is removed, to be made again."""
    failed = []
    for path in (work / "out" / "records").glob("[!.]*.json"):
        result = json.loads(path.read_text())["result"]
        if result["status"] == "failed" and " at step " in result["error"]:
            failed.append(path)
    for path in failed:
        path.unlink()
    return [] if len(failed) == 1 else [f"{len(failed)} records say that a run failed"]


def _records(work: Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_mtime_ns for path in (work / "out" / "records").glob("[!.]*.json")
    }


def _made_again(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return [f"{name} was made again" for name in before if after.get(name) != before[name]]


def _differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    return [
        *(f"{name} is left over" for name in sorted(found.keys() - wanted.keys())),
        *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
        *(
            f"{name} differs"
            for name in sorted(wanted)
            if found.get(name, wanted[name]) != wanted[name]
        ),
    ]


@contextlib.contextmanager
def server(bench: Bench) -> Iterator[int]:
    """A process that serves a file: threads and forks do not go together."""
    import scenarios

    bench.work.mkdir(exist_ok=True)
    port = multiprocessing.Value("l", 0)

    parent = os.getpid()

    def act() -> None:
        port.value = scenarios.serve()
        while os.getppid() == parent:
            time.sleep(1)

    pid = bench.fork(act, "server")
    try:
        while not port.value:
            time.sleep(0.01)
        yield port.value
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def measured(bench: Bench, scenario: Any, template: Path) -> Any:
    """What lies there before and after a scenario, and how many calls and moments it has."""
    import faults
    import scenarios

    shutil.rmtree(bench.work, ignore_errors=True)
    bench.work.mkdir()
    bench.shim.set(None)
    end = bench.undisturbed(scenario.prepare)
    if end.said.count("Traceback") or end.code:
        raise SystemExit(f"{scenario.name} cannot be prepared ({end.code}): {end.said}")
    scenarios.copied(bench.work, template)
    bench.shim.set(bench.work)
    steps = multiprocessing.Value("l", 0)

    def act() -> None:
        faults.count_steps(steps)
        scenario.act()

    pid = bench.fork(act)
    end = bench.wait(pid)
    gone(pid)
    if end.code:
        raise SystemExit(f"{scenario.name} ends with {end.code}: {end.said}")
    per_op, wanted = list(bench.shim.control.per_op), scenarios.state(bench.work)
    scenarios.copied(template, bench.work)
    bench.seen.value = 0

    def counted() -> None:
        faults.counting(bench.seen)
        scenario.act()

    bench.undisturbed(counted)
    return per_op, bench.seen.value, steps.value, wanted


def campaign(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of it; the figures."""
    import faults
    import scenarios

    bench = Bench(folder, shims.Shim())
    os.environ["AMPMIX_CACHE"] = str(bench.work / "cache")
    os.environ.pop("AMPMIX_DATA", None)
    os.environ["no_proxy"] = "127.0.0.1"
    started = time.monotonic()
    findings: list[Finding] = []
    counts: collections.Counter[str] = collections.Counter()
    missed = 0
    with server(bench) as port:
        found = [*scenarios.SCENARIOS, scenarios.download(port)]
        chosen = [s for s in found if not given.only or s.name in given.only]
        kinds, wanted, templates = [], {}, {}
        for i, scenario in enumerate(chosen):
            templates[scenario.name] = folder / f"before-{i}"
            for module in scenario.imports:
                importlib.import_module(module)
            per_op, moments, steps, after = measured(bench, scenario, templates[scenario.name])
            wanted[scenario.name] = after
            draw = random.Random(f"{given.seed} {scenario.name}")
            kinds += list(
                faults.candidates(scenario, per_op, moments, steps, draw, not given.forked)
            )
            told = f"{sum(per_op)} calls, {moments} moments, {steps} steps"
            print(f"{scenario.name}: {told}", flush=True)
        random.Random(given.seed).shuffle(kinds)
        plan = faults.plan(kinds, given.faults)
        for number, (scenario, fault) in enumerate(plan):
            if given.until is not None and time.monotonic() - started > given.until:
                break
            if given.number is not None and number != given.number:
                continue
            if given.kind is not None and fault.kind != given.kind:
                continue
            struck, problems = suffer(
                bench, scenario, fault, templates[scenario.name], wanted[scenario.name]
            )
            counts[fault.kind] += struck
            missed += not struck
            if given.verbose:
                print(
                    f"{number}: {scenario.name}, {fault}{'' if struck else ' (missed)'}", flush=True
                )
            if problems:
                findings.append(Finding(number, scenario.name, str(fault), problems))
                print(f"FOUND {number}: {scenario.name}, {fault}")
                print("".join(f"    {problem}\n" for problem in problems), end="", flush=True)
    return {
        "seed": given.seed,
        "faults": sum(counts.values()),
        "missed": missed,
        "seconds": round(time.monotonic() - started),
        "by_kind": dict(sorted(counts.items())),
        "findings": [vars(finding) for finding in findings],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="of a scenario; again for more"
    )
    parser.add_argument("--kind", metavar="NAME", help="of faults")
    parser.add_argument("--number", type=int, metavar="I", help="this fault alone")
    parser.add_argument("--forked", action="store_true", help="begin no processes anew")
    parser.add_argument("--verbose", action="store_true", help="name every fault")
    parser.add_argument("--until", type=float, metavar="S", help="begin none after so many seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        folder = Path(os.environ.get("AMPMIX_TORTURE_FOLDER", name))
        os.environ["AMPMIX_TORTURE_FOLDER"] = str(folder)
        shims.preload(folder)
        sys.path.insert(0, str(Path(__file__).parent))
        figures = _warm_campaign(given, folder)
        if folder != Path(name):
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({**figures, "findings": len(figures["findings"])}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.flush()
    os._exit(bool(figures["findings"]))  # without the threads and children of libraries


def _warm_campaign(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Import what commands import, once."""
    import polars  # noqa: F401 (its threads begin when it is used: not here)
    import safetensors.torch  # noqa: F401
    import torch
    import torch._dynamo
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: F401

    import ampmix.studies.compare
    import ampmix.studies.estimate
    import ampmix.studies.trackers  # noqa: F401
    from ampmix._support import components
    from ampmix.cli import main as cli
    from ampmix.records.provenance import git_state

    torch.set_num_threads(1)
    _train_once()
    cli.build_parser()
    for package in ("policies", "backbones", "datasets"):
        components.find(f"ampmix.{package}")
    git_state()
    gc.collect()
    gc.freeze()  # so that children do not copy what they only look at
    return campaign(given, folder)


def _train_once() -> None:
    """So that what torch imports at a first step is imported."""
    from ampmix.backbones.text_cnn import TextCNN
    from ampmix.data.dataset import Examples, TextDataset
    from ampmix.data.splits import split_fold
    from ampmix.policies.mixup import Mixup
    from ampmix.training.config import TrainConfig
    from ampmix.training.fit import fit

    texts = Examples(tuple(f"a text {i}" for i in range(12)), [i % 2 for i in range(12)])
    split = split_fold(TextDataset("some", ("a", "b"), texts), 0, 2)
    fit(TextCNN(embedding_dim=8, feature_maps=4), Mixup(), split, TrainConfig(steps=1))


if __name__ == "__main__":
    main()
