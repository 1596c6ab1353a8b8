"""One study over every policy and backbone: the same records to the bit, whoever does the runs."""

from __future__ import annotations

import ast
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ampmix._support import components
from ampmix.studies.executors import InProcess, Pool
from ampmix.studies.file import read
from ampmix.studies.run import Watchers, run_study
from ampmix.studies.study import Study, build
from conftest import Folders
from every_backbone import every_spec
from every_policy import every_policy_and_site
from small_studies import digests, write_study

STEPS = 3


def study_text(bert: str) -> str:
    policies = [components.spec(policy) for policy in every_policy_and_site()]
    return "\n".join(
        [
            'name = "all"',
            'datasets = ["films.csv"]',
            f"backbones = {json.dumps([*every_spec(bert).values()])}",
            f"policies = {json.dumps(policies)}",
            "seeds = 2",
            f"[training]\nsteps = {STEPS}\neval_every = 2\nlr = 0.01\n",
        ]
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Study:
    pytest.importorskip("transformers")
    text = study_text(folders["bert"])
    made = build(read(write_study(tmp_path_factory.mktemp("study"), text)), skip_invalid=True)
    assert {plan.backbone.name for plan in made.plans} == set(every_spec(""))
    policies = len(every_policy_and_site())
    assert len(made.tasks()) == 2 * (1 + len(every_spec("")) * policies) and policies > 4
    return made


@pytest.fixture(scope="module")
def expected(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("here")
    assert not run_study(study, out, InProcess, Watchers([])).errors
    made = digests(out)
    assert len(made) == len(study.tasks())
    return made


def of_processes(workers: int) -> Callable[..., Any]:
    return lambda plans, models, on_step: Pool(plans, models, on_step, workers)


def on_ray(plans: Any, models: Any, on_step: Any) -> Any:
    from ampmix.studies.executors.on_ray import Ray

    return Ray(plans, models, limit=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        "here again",
        pytest.param("one worker", marks=pytest.mark.new_workers),
        "three workers",
        "ray",
    ],
)
def test_the_records_are_the_same_to_the_bit(
    study: Study, expected: dict[str, str], tmp_path: Path, how: str
) -> None:
    if how == "ray":
        pytest.importorskip("ray")
    opened = {
        "here again": InProcess,
        "one worker": of_processes(1),
        "three workers": of_processes(3),
        "ray": on_ray,
    }[how]
    outcome = run_study(study, tmp_path, opened, Watchers([]))
    assert dict(outcome.errors) == {}
    assert digests(tmp_path) == expected


@pytest.mark.slow
def test_another_seed_of_pythons_hashes_changes_nothing(
    study: Study, expected: dict[str, str], tmp_path: Path
) -> None:
    """Orders of sets and of strings' hashes must not leak into anything."""
    plan = study.plans[0]
    code = (
        "import pickle, sys; plan = pickle.load(sys.stdin.buffer); import torch;"
        "torch.set_num_threads(1);"
        "print({plan.run_id(run): plan.execute(run, None).digest for run in plan.runs()})"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(plan),
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert done.returncode == 0, done.stderr.decode()
        made = ast.literal_eval(done.stdout.decode())
        assert made == {run: expected[f"{run}.json"] for run in made}
