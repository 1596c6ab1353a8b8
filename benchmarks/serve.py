"""`ampmix serve` under load: throughput, times, the same labels as `predict`, memory.

    python benchmarks/serve.py [MODEL] [--clients 200] [--requests 20000]

The command runs in a process of its own with two threads; the clients, each with a connection that
stays open and one text a request, share the machine with it. Without MODEL a TF-IDF, a CNN and the
frozen encoder are trained on the support messages. Written to ``benchmarks/results/serve.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ampmix
from _measuring import RESULTS

TEXTS = Path(__file__).parents[1] / "examples/support-tickets.csv"
MODELS = ("tfidf-logreg", "cnn", "encoder-logreg")
MALFORMED = (b"", b"{", b"[]", b'{"texts": 1}', b'{"texts": [null]}', b"\xff" * 2000, b"[" * 50_000)


@contextmanager
def serving(model: Path) -> Iterator[tuple[int, int]]:
    """The command's process id and port."""
    command = [sys.executable, "-m", "ampmix", "serve", str(model), "--port", "0", "--threads", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process.pid, int(line.partition(";")[0].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


class Client:
    """A connection that stays open."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> Client:
        """Connect."""
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and content of an answer."""
        head = (
            "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._out.write(head.encode() + body)
        told = (await self._in.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(told.partition("content-length:")[2].partition("\r")[0])
        return int(told.split()[1]), json.loads(await self._in.readexactly(length))


def body_of(text: str) -> bytes:
    return json.dumps({"texts": [text]}).encode()


async def load(port: int, texts: list[str], clients: int, requests: int) -> dict[str, Any]:
    """All clients at once, each asking again when it is answered; labels in the order of asking."""
    times: list[float] = []
    labels: list[str] = [""] * requests
    numbers = iter(range(requests))
    connected = [await Client(port).open() for _ in range(clients)]

    async def ask(client: Client) -> None:
        for number in numbers:
            started = time.perf_counter()
            status, told = await client.post(body_of(texts[number % len(texts)]))
            times.append(time.perf_counter() - started)
            assert status == 200, told
            labels[number] = told["labels"][0]

    began = time.perf_counter()
    await asyncio.gather(*map(ask, connected))
    return {"seconds": time.perf_counter() - began, "times": times, "labels": labels}


async def refusals(port: int) -> list[int]:
    """Statuses of malformed requests."""
    return [(await (await Client(port).open()).post(body))[0] for body in MALFORMED]


def memory(pid: int) -> float:
    """Resident memory of a process, MiB."""
    told = Path(f"/proc/{pid}/status").read_text()
    return int(told.partition("VmRSS:")[2].split()[0]) / 1024


def measured(folder: Path, clients: int, requests: int) -> dict[str, Any]:
    """The figures of one model."""
    texts = list(ampmix.load_dataset(TEXTS).train.texts)
    wanted = ampmix.Classifier.load(folder).predict(texts)
    with serving(folder) as (pid, port):
        asyncio.run(load(port, texts, clients, min(requests, 4 * clients)))  # warms up
        held, parts = [memory(pid)], []
        for _ in range(10):
            parts.append(asyncio.run(load(port, texts, clients, requests // 10)))
            held.append(memory(pid))
        statuses = asyncio.run(refusals(port))
    for part in parts:
        expected = [wanted[i % len(texts)] for i in range(len(part["labels"]))]
        assert part["labels"] == expected, "labels differ from those of predict"
    assert all(400 <= status < 500 for status in statuses), statuses
    times = np.concatenate([part["times"] for part in parts])
    return {
        "requests": len(times),
        "clients": clients,
        "requests_per_second": len(times) / sum(part["seconds"] for part in parts),
        "median_ms": 1e3 * float(np.median(times)),
        "p99_ms": 1e3 * float(np.quantile(times, 0.99)),
        "labels_as_predict": True,
        "statuses_of_malformed": statuses,
        "memory_mib": [round(one, 1) for one in held],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=20_000)
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        given = [arguments.model] if arguments.model else [Path(temporary, n) for n in MODELS]
        for folder in given:
            if not arguments.model:
                steps = ["--steps", "300"] if folder.name == "cnn" else []
                command = [
                    "train",
                    str(TEXTS),
                    "--model",
                    folder.name,
                    "--out",
                    str(folder),
                    *steps,
                ]
                subprocess.run([sys.executable, "-m", "ampmix", *command], check=True)
            requests = arguments.requests if folder.name != "encoder-logreg" else 2000
            found[folder.name] = measured(folder, arguments.clients, requests)
            print(folder.name, json.dumps(found[folder.name]))
    content = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, server and clients together",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "models": found,
    }
    path = RESULTS / "serve.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
