"""What is disturbed: commands on tiny data, each with what lies there before."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from ampmix.cli.main import run as ampmix
from ampmix.models.classifier import Classifier
from ampmix.records.store import read_record

SMALL = ("--backbone", "cnn[embedding_dim=8,feature_maps=4]", "--lr", "0.01", "--eval-every", "2")
STUDY = """name = "small"
datasets = ["films.csv"]
backbones = ["cnn[embedding_dim=8,feature_maps=4]"]
policies = ["none", "mixup"]
seeds = 2
models = "best"
[training]
steps = 4
eval_every = 2
lr = 0.01
"""
CONTENT = bytes(range(256)) * 800
INPUTS = ("films.csv", "study.toml", "texts.csv", "texts.parquet")


@dataclass(frozen=True)
class Scenario:
    """A command and its setting.

    Attributes:
        name: what it is called.
        command: arguments of ampmix, or a function instead.
        before: commands that are done before, undisturbed.
        workers: whether runs happen in worker processes.
        runs: whether it makes records.
        imports: modules that it imports, besides those that all do.
    """

    name: str
    command: tuple[str, ...] | Callable[[], None]
    before: tuple[tuple[str, ...], ...] = ()
    workers: bool = False
    runs: bool = False
    imports: tuple[str, ...] = ()

    def act(self) -> None:
        """Do it, in the folder that is current; ends with SystemExit."""
        _act(self.command)

    def act_as_new(self) -> None:
        """Become a new process that does it."""
        assert not callable(self.command)
        program = [sys.executable, "-m", "ampmix", *self.command]
        os.execve(program[0], program, {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})

    def prepare(self) -> None:
        """Make what lies there before, in the folder that is current."""
        write_inputs(Path())
        for command in self.before:
            try:
                _act(command)
            except SystemExit as end:
                if end.code:
                    raise RuntimeError(f"{command} ended with {end.code}") from end


def _act(command: tuple[str, ...] | Callable[[], None]) -> None:
    if callable(command):
        _as_a_user(command)
    else:
        sys.argv = ["ampmix", *command]
        ampmix()


def _as_a_user(function: Callable[[], None]) -> None:
    """A few lines of Python that handle what the documentation says can be raised."""
    from ampmix.errors import AmpmixError

    try:
        function()
    except (AmpmixError, OSError) as error:
        print(f"ampmix: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0)


def write_inputs(folder: Path) -> None:
    """Texts of three classes, to train on and to predict, and a study."""
    import polars

    draw = random.Random(0)
    words = ["the", "film", "book", "play", "was", "is", "very", "so", "great", "dull", "how"]
    lines = [f"{' '.join(draw.choices(words, k=6))} {i},{'abc'[i % 3]}" for i in range(60)]
    (folder / "films.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    texts = [" ".join(draw.choices(words, k=6)) for _ in range(40)]
    (folder / "texts.csv").write_text("text\n" + "\n".join(texts) + "\n")
    polars.DataFrame({"text": texts}).write_parquet(folder / "texts.parquet")
    (folder / "study.toml").write_text(STUDY)


def _train(seed: str, out: str = "model") -> tuple[str, ...]:
    return ("train", "films.csv", "--steps", "6", *SMALL, "--seed", seed, "--out", out)


def _compare(*more: str) -> tuple[str, ...]:
    options = ("--policies", "none,mixup", "--seeds", "2", "--out", "out", "--steps", "4")
    return ("compare", "films.csv", *options, *SMALL, *more)


def _study(*more: str) -> tuple[str, ...]:
    return ("study", "study.toml", "--out", "out", "--no-estimate", *more)


def _save() -> None:
    Classifier.load("model").save("copy", {"dataset": "films"})


def _path(seed: str) -> tuple[str, ...]:
    options = ("--pairs", "5", "--points", "3", "--figures", "svg", "--out", "path")
    return ("path", "model", "other", "--data", "films.csv", *options, "--seed", seed)


_BEGUN = _compare("--policies", "none", "--workers", "1")  # runs that the study has too
PREDICT = "predict", "model"
REPORT = "report", "out", "--figures", "svg,png"
EXPORT = "export", "model", "--onnx", "said.onnx"
CHARTS = "altair", "vl_convert", "scipy.special"
ONNX = "onnx", "onnxscript", "torch.export", "torch.onnx._internal.exporter._core"

SCENARIOS = [
    Scenario("train", _train("0")),
    Scenario("train over a model", _train("0"), (_train("1"),)),
    Scenario("save over a model", _save, (_train("0"), _train("1", "copy"))),
    Scenario(
        "predict a CSV",
        (*PREDICT, "texts.csv", "--out", "said.csv", "--threads", "1"),
        (_train("0"), (*PREDICT, "films.csv", "--out", "said.csv", "--threads", "1")),
    ),
    Scenario(
        "predict a Parquet",
        (*PREDICT, "texts.parquet", "--out", "said.parquet", "--threads", "1"),
        (_train("0"),),
    ),
    Scenario(
        "evaluate",
        ("evaluate", "model", "films.csv", "--json", "figures.json"),
        (_train("0"),),
    ),
    Scenario("compare", _compare("--workers", "1"), workers=True, runs=True),
    Scenario(
        "compare anew",
        _compare("--workers", "2"),
        (_compare("--policies", "none", "--workers", "1", "--lr", "0.02"),),
        workers=True,
        runs=True,
    ),
    Scenario("study here", _study("--executor", "here"), runs=True),
    Scenario("study", _study("--workers", "2"), workers=True, runs=True),
    Scenario("study goes on", _study("--executor", "here"), (_BEGUN,), runs=True),
    Scenario(
        "report",
        REPORT,
        (
            _BEGUN,
            REPORT,
            _study("--executor", "here"),
        ),
        imports=CHARTS,
    ),
    Scenario(
        "path",
        _path("0"),
        (_train("0"), _train("1", "other"), _path("1")),
        imports=CHARTS,
    ),
    Scenario(
        "export",
        EXPORT,
        (_train("1"), EXPORT, _train("0")),
        imports=ONNX,
    ),
]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        content, wanted = CONTENT, self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            end = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])


def serve() -> int:
    """A server of one file, as long as this process lives; its port."""
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def download(port: int) -> Scenario:
    """A data file from that server."""

    def fetch_it() -> None:
        from ampmix._support import download as _files

        _files.PAUSE = 0.01
        url = f"http://127.0.0.1:{port}/file.txt"
        _files.fetch("set/file.txt", hashlib.sha256(CONTENT).hexdigest(), url)

    return Scenario("download", fetch_it)


def copied(template: Path, folder: Path) -> None:
    """A fresh copy of what lies there before."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, by what must be equal to the bit."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            if not any(path.iterdir()) and path.name not in ("locks", "failures"):
                found[name] = "an empty folder"
        elif path.parent.name == "records" and path.suffix == ".json" and name[0] != ".":
            found[name] = read_record(path.read_bytes(), path.stem).digest
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def unhealthy(
    folder: Path, before: dict[str, str], after: dict[str, str], failed: bool
) -> list[str]:
    """What is half-written, of all that does not begin with a dot.

    A comparison in which a run has `failed` says so in its summary, and goes by the others.
    """
    problems = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or "locks" in parts:
            continue
        if path.is_dir():
            if path.parent.name == "models" or name in ("model", "copy", "out/model"):
                try:
                    Classifier.load(path)
                except Exception as error:
                    problems.append(f"{name} cannot be loaded: {error}")
        elif parts[-1].endswith(".part") or "model" in parts or "copy" in parts:
            continue
        elif path.parent.name == "records":
            try:
                read_record(path.read_bytes(), path.stem)
            except ValueError as error:
                problems.append(f"{name} cannot be read: {error}")
        elif "models" in parts:
            continue
        elif path.parent.name == "failures":
            json.loads(path.read_text())
        elif hashlib.sha256(path.read_bytes()).hexdigest() in (before.get(name), after.get(name)):
            continue
        elif failed and path.name == "summary.json":
            rows = json.loads(path.read_text())["rows"]
            if not any(row["failures"] for row in rows):
                problems.append(f"{name} tells of no failure")
        else:
            problems.append(f"{name} is neither what it was nor what it becomes")
    gone = [
        name
        for name, content in before.items()
        if name in after and content != "an empty folder" and not (folder / name).exists()
    ]
    return problems + [f"{name} is gone" for name in gone]
