"""A study on a real Ray cluster of two nodes, one of which is killed. Needs the extra ``ray``."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampmix.errors import AmpmixError
from ampmix.studies.executors import InProcess, Task
from ampmix.studies.executors.on_ray import Ray
from ampmix.studies.file import read
from ampmix.studies.plan import Run
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import Study, build
from small_studies import STUDY, digests, write_study


def study_of(folder: Path, text: str = STUDY) -> Study:
    return build(read(write_study(folder, text)))


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_an_address_that_does_not_answer_is_one_sentence(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = address.format(port=free.getsockname()[1])
        with pytest.raises(AmpmixError, match="no Ray cluster answers at") as caught:
            Ray(study_of(tmp_path).plans, None, address)
    assert "\n" not in str(caught.value)
    with pytest.raises(AmpmixError, match="write HOST:PORT"):
        Ray((), None, "somewhere")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(AmpmixError, match=r"ampmix\[ray\]"):
        Ray((), None)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each; the head has none, so that the driver's node does no runs."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield made
    finally:
        made.shutdown()


def running_under(raylet: int) -> bool:
    """Whether a worker of that node is in a run: Ray then names its process after the function."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == raylet and (folder / "cmdline").read_bytes()[:8] == b"ray::_do":
                return True
    return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc")
def test_one_of_two_nodes_is_killed_and_the_records_are_the_same(
    tmp_path: Path, cluster: Any
) -> None:
    study = study_of(tmp_path, STUDY.replace("steps = 4", "steps = 150"))
    run_study(study, tmp_path / "undisturbed", InProcess, Watchers([]))
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    lost: list[Task] = []

    raylet = nodes[1].all_processes["raylet"][0].process.pid

    def kill_one() -> None:
        while not running_under(raylet):
            time.sleep(0.02)
        cluster.remove_node(nodes[1], allow_graceful=False)

    class Killer(Watchers):
        def on_start(self, task: Task) -> None:
            if not killer.is_alive() and killer.ident is None:
                killer.start()

        def on_lost(self, task: Task) -> None:
            lost.append(task)

    killer = threading.Thread(target=kill_one, daemon=True)

    def opened(plans: Any, models: Any, on_step: Any) -> Ray:
        executor = Ray(plans, models, cluster.address)
        assert executor.slots == 2
        return executor

    outcome = run_study(study, tmp_path / "out", opened, Killer([]))
    assert dict(outcome.errors) == {}
    assert outcome.trained == 6
    assert lost  # else nothing was shown
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_gpus_are_shared_models_travel_and_errors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any
) -> None:
    """A node says that it has one GPU: of runs that take a quarter each, three run at once."""
    cluster.add_node(num_cpus=3, num_gpus=1)
    cluster.wait_for_nodes()
    text = STUDY.replace("seeds = 2", 'seeds = 2\nmodels = "best"')
    study, slots = study_of(tmp_path, text), []

    def opened(plans: Any, models: Any, on_step: Any) -> Ray:
        executor = Ray(plans, models, cluster.address, gpus=0.25)
        slots.append(executor.slots)
        return executor

    run_study(study, tmp_path / "out", opened, Watchers([]))
    assert slots == [3]
    models = list((tmp_path / "out" / "models").iterdir())
    assert len(models) == 2
    for folder in models:
        assert (folder / "model.safetensors").stat().st_size > 1000

    broken = study_of(tmp_path, STUDY)
    executor = opened(broken.plans, None, None)
    try:
        executor.start(Task(0, Run("nosuch", 0)))
        ended = []
        while not ended:
            ended = executor.poll(1.0)
        assert "unknown policy" in str(ended[0].error)
    finally:
        executor.close()
