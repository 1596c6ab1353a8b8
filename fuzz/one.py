"""One target, with coverage: a process of its own, since libFuzzer ends the one it runs in."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fuzz.outcome import MEMORY, Watch
from fuzz.target import Target

HANGS = 60  # seconds on the clock, of which a busy machine may give us few
ADDRESSES = 24 * 2**30  # bytes of address space: an allocation beyond it fails and is found


def main() -> None:
    """Feed one target; write findings as they come and the figures at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=("atheris", "blind"), required=True)
    parser.add_argument("--input", type=Path, help="try this one alone, and show what comes of it")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    if arguments.engine == "atheris" and arguments.input is None:
        import atheris

        with atheris.instrument_imports(include=["ampmix", "zipfile", "tomllib", "csv", "json"]):
            from fuzz.targets import TARGETS

            _imported()
    else:
        from fuzz.targets import TARGETS
    target = TARGETS[arguments.target]
    if arguments.input is not None:
        target.run(arguments.input.read_bytes())
        return
    watch = Watch(target.run, arguments.out / "findings" / target.name)
    feed = _fed(watch, target.name, arguments)
    with contextlib.redirect_stderr(None):  # of Python alone; libFuzzer's own goes on
        (_blind if arguments.engine == "blind" else _guided)(target, feed, arguments)


Feed = Callable[[bytes], None]


def _fed(watch: Watch, name: str, arguments: argparse.Namespace) -> Feed:
    """Feeds the watch, and now and then writes down the figures."""
    began, figures = time.monotonic(), arguments.out / f"{name}.{os.getpid()}.json"

    def feed(data: bytes) -> None:
        watch(data)
        if watch.tried % 500 and watch.tried < arguments.inputs:
            return
        told = {
            "target": name,
            "tried": watch.tried,
            "refused": watch.refused,
            "slowest_s": round(watch.slowest, 3),
            "seconds": round(time.monotonic() - began, 1),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "findings": {one.where: one.name for one in watch.found.values()},
        }
        figures.write_text(json.dumps(told))

    return feed


def _blind(target: Target, feed: Feed, arguments: argparse.Namespace) -> None:
    """Mutations of the seeds, whatever they reach."""
    from fuzz.mutate import mutations

    given = arguments.seed, arguments.inputs, target.longest
    for data in mutations(target.seeds(), target.words, *given):
        feed(data)


def _guided(target: Target, feed: Feed, arguments: argparse.Namespace) -> None:
    """Mutations of what has reached new code; does not return."""
    import atheris

    corpus, findings = arguments.out / "corpus" / target.name, arguments.out / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(target.seeds()):
        (corpus / f"seed-{i:03}").write_bytes(data)
    words = arguments.out / f"{target.name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = {
        "seed": arguments.seed + 1,  # 0 means a random one
        "runs": arguments.inputs,
        "max_len": target.longest,
        "timeout": HANGS,
        "rss_limit_mb": MEMORY >> 20,
        "dict": words,
        "artifact_prefix": f"{findings / target.name}-",
        "verbosity": 1,
    }
    given = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *given, str(corpus)], feed)
    atheris.Fuzz()


def _imported() -> None:
    """What targets import when they run, so that it is instrumented."""
    import importlib

    for name in (
        "classifier",
        "commands._naming",
        "datasets._files",
        "datasets._parquet_stream",
        "datasets.table",
        "frame",
        "paper",
        "report.page",
        "report.runs_document",
        "study",
        "vector_formats",
    ):
        importlib.import_module(f"ampmix.{name}")


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02X}" for byte in word)


if __name__ == "__main__":
    main()
