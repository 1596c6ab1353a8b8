"""Fixtures shared by the tests."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
import tiny_encoders
from ampmix import datasets
from ampmix.studies.executors import InProcess


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """main() sets a handler for SIGTERM; the test runner wants its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def trec_data() -> Path:
    """The folder with the real data sets; CI must have it, elsewhere its tests are skipped."""
    folder = os.environ.get("AMPMIX_DATA", "")
    if folder and Path(folder, "sent-conv", "TREC.train.all").is_file():
        return Path(folder)
    if os.environ.get("CI") == "true":
        pytest.fail("AMPMIX_DATA must point to the data sets in CI")
    pytest.skip("AMPMIX_DATA is not set")


@pytest.fixture(scope="session")
def load_once() -> Any:
    """``ampmix.datasets.load``, which reads each data set once a session."""
    return cache(datasets.load)


class Folders(dict[str, str]):
    """Folders with small random encoders by architecture, each made when it is asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, kind: str) -> str:
        folder = self._factory.mktemp(kind)
        pytest.importorskip("transformers")
        tiny_encoders.save(kind, folder)
        self[kind] = str(folder)
        return self[kind]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """See :class:`Folders`."""
    return Folders(tmp_path_factory)


@pytest.fixture
def backbone(request: pytest.FixtureRequest) -> Any:
    """The backbone of an ``indirect`` parametrisation, in its own folder if it is the tiny one."""
    if getattr(request.param, "model", None) != tiny_encoders.TINY:
        return request.param
    return replace(request.param, model=request.getfixturevalue("folders")["bert"])


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A comparison's runs happen in this process instead of in workers; the list says which did."""
    done: list[Any] = []

    class Here(InProcess):
        def __init__(self, plans: Any, models: Any, on_step: Any, *_: Any) -> None:
            super().__init__(plans, models, on_step)

        def start(self, task: Any) -> None:
            done.append(task.run)
            super().start(task)

    monkeypatch.setattr("ampmix.studies.runner.InProcess", Here)
    monkeypatch.setattr("ampmix.studies.runner.Pool", Here)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield done
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is the tests' own, the same for all of a process."""
    monkeypatch.setenv("AMPMIX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backbone ``auto`` is ``cnn`` in this process, as where no encoder is installed: seconds."""
    monkeypatch.setattr("ampmix.studies.automatic.encoder_installed", lambda: False)


@pytest.fixture(autouse=True)
def no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders train in float32 in this process, whatever the processor has."""
    monkeypatch.setattr("ampmix._torch.precision.bfloat16_is_fast", lambda: False)


@pytest.fixture(autouse=True)
def forked_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of ampmix's pools are forked from this process: none imports torch anew.

    Except with the mark ``new_workers``, and where forking is not the custom.
    """
    if sys.platform == "linux" and request.node.get_closest_marker("new_workers") is None:
        context = multiprocessing.get_context

        def forking(method: str | None = None) -> Any:
            return context("fork" if method == "spawn" else method)

        monkeypatch.setattr(multiprocessing, "get_context", forking)


@pytest.fixture
def forked_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that try a Parquet file are forked: none imports Polars anew."""
    monkeypatch.setattr("ampmix.data.tables.parquet_probe.subprocess", forked)
