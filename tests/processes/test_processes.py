"""The same command in several processes, as torchrun starts them."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import forked
from ampmix import AMP, Classifier, Mixup, NoMixup, TextCNN, TrainConfig
from ampmix.data.splits import split_train
from ampmix.datasets import load
from ampmix.policies.base import Policy
from ampmix.records.store import RecordStore
from ampmix.text.encoded import Encoded, Vocabulary
from ampmix.training.fit import fit
from ampmix.training.processes import ALONE, Processes
from ampmix.training.step import TrainingBatch, TrainingStep, stepper

pytest.importorskip("accelerate")
TABLE = Path(__file__).parents[2] / "examples" / "support-tickets.csv"
QUICK = ("--steps", "12", "--batch-size", "16", "--lr", "1e-3")


def torchrun(processes: int, *command: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, "--nproc-per-node", str(processes), "-m", "ampmix", *command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 of the support messages."""
    path = tmp_path_factory.mktemp("data") / "small.csv"
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([rows[0], *rows[1::5]])
    return path


class Half(Processes):
    """One of two processes whose partner is simulated: `other` is what it would add."""

    count = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


@pytest.mark.parametrize("policy", [NoMixup(), Mixup(site="sent"), AMP(eps=0.1)], ids=str)
def test_two_processes_take_the_gradient_of_the_whole_batch(policy: Policy, small: Path) -> None:
    """The mean over processes of what each computes is that over the batch, odd ones too."""
    split = split_train(load(str(small)), 0)
    backbone = TextCNN(embedding_dim=8, feature_maps=4, dropout=0.0)
    reader = backbone.reader(split.train.texts, split.tokenizer, 64)
    encoded = reader.encode(split.train.texts, split.train.labels)

    for size in (7, 1):
        batch = tuple(map(torch.from_numpy, encoded.batch(range(size))))
        gradients, losses, counts = [], [], []
        for rank in (0, 1):
            model = backbone.build(reader, len(split.classes), torch.Generator().manual_seed(0))
            step = TrainingStep(
                model, policy.prepare((), 1), _plain_loss, 3, torch.device("cpu"), rank
            )
            seen: list[Tensor] = []
            step.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.detach()))
            optimizer = torch.optim.SGD(step.parameters(), lr=0.0)
            stepper(step, optimizer, TrainConfig(), Half(rank))(TrainingBatch(*batch))
            gradients.append([p.grad for p in step.parameters()])
            mine = Half(rank).share(range(size))
            losses += seen[0][: len(mine)].tolist()
            counts.append(len(mine))
        assert sum(counts) == size and len(losses) == size
        if policy.mixing_site and size > 1:
            continue  # pairs are drawn within a part; that its loss is right, policies' tests say
        alone = backbone.build(reader, len(split.classes), torch.Generator().manual_seed(0))
        step = TrainingStep(alone, policy.prepare((), 1), _plain_loss, 3, torch.device("cpu"))
        stepper(step, torch.optim.SGD(step.parameters(), lr=0.0), TrainConfig())(
            TrainingBatch(*batch)
        )
        for one, two, whole in zip(*gradients, [p.grad for p in step.parameters()], strict=True):
            torch.testing.assert_close((one + two) / 2, whole, rtol=1e-5, atol=1e-7)


def _plain_loss(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none")


def together(*command: str) -> subprocess.CompletedProcess[str]:
    return forked.together([sys.executable, "-m", "ampmix", *command], imports=["accelerate"])


@pytest.mark.slow
def test_train_in_two_processes_is_one_model_and_close_to_one_process(
    small: Path, tmp_path: Path
) -> None:
    """Without mixing and dropout nothing is drawn, so only the order of summation differs."""
    backbone = "cnn[embedding_dim=16,feature_maps=8,dropout=0.0]"
    command = ("train", str(small), "--backbone", backbone, *QUICK, "--eval-every", "4")
    done = torchrun(2, *command, "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Development error") == 1, "only the first process speaks"
    alone = forked.run(
        [sys.executable, "-m", "ampmix", *command, "--out", str(tmp_path / "one")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[:2] == alone.stdout.splitlines()[:2]
    two, one = Classifier.load(tmp_path / "two"), Classifier.load(tmp_path / "one")
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    about: dict[str, Any] = json.loads((tmp_path / "two" / "config.json").read_text())["about"]
    assert about["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["amp[eps=0.1]", "nonlinear", "adamixup"])
def test_policies_train_in_two_processes(policy: str, small: Path, tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    done = together(
        "train", str(small), "--backbone", "cnn", "--policy", policy, *QUICK, "--out", model
    )
    assert done.returncode == 0, done.stderr
    assert len(Classifier.load(tmp_path / "model").predict(["where is my parcel"])) == 1


@pytest.mark.slow
def test_compare_in_two_processes_makes_the_records_of_one(small: Path, tmp_path: Path) -> None:
    command = ("compare", str(small), "--backbone", "cnn", "--policies", "none,amp")
    command += ("--seeds", "2", *QUICK)
    done = together(*command, "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    alone = forked.run(
        [sys.executable, "-m", "ampmix", *command, "--out", str(tmp_path / "one")],
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.replace(str(tmp_path / "two"), str(tmp_path / "one")), alone.stdout
    untimed = [re.sub(r" +\d+ s +[\d,]+$", "", own, flags=re.MULTILINE) for own in said]
    assert untimed[0] == untimed[1]
    digests = [
        {
            path.name: json.loads(path.read_text())["digest"]
            for path in RecordStore(tmp_path / name / "records").folder.glob("*.json")
        }
        for name in ("one", "two")
    ]
    assert digests[0] == digests[1] and len(digests[0]) == 6
    predicted = [
        Classifier.load(tmp_path / name / "model").predict_proba(["refund"])
        for name in ("one", "two")
    ]
    assert np.array_equal(*predicted)


def test_a_mistake_ends_all_processes(tmp_path: Path) -> None:
    done = together("train", str(tmp_path / "none.csv"), "--out", str(tmp_path / "model"))
    assert done.returncode != 0
    assert "none.csv" in done.stderr
    assert not (tmp_path / "model").exists()


def test_alone_nothing_changes(small: Path) -> None:
    split = split_train(load(str(small)), 0)
    backbone, config = TextCNN(embedding_dim=8, feature_maps=4), TrainConfig(steps=4, batch_size=8)
    assert ALONE.share(range(3)) == [0, 1, 2]
    one, two = (fit(backbone, AMP(), split, config, processes=p) for p in (ALONE, Processes()))
    assert one.curve == two.curve


def test_taking_texts_is_encoding_those_texts() -> None:
    vocabulary = Vocabulary(("a", "b", "c"))
    texts = [["a"], ["b", "c", "a"], [], ["c", "c"]]
    whole = Encoded.of_tokens(texts, [0, 1, 2, 3], vocabulary)
    for rows in ([2, 0], [3, 1, 1], []):
        expected = Encoded.of_tokens([texts[i] for i in rows], rows, vocabulary)
        taken = whole.take(rows)
        assert taken.tokens.tolist() == expected.tokens.tolist()
        assert taken.offsets.tolist() == expected.offsets.tolist()
        assert taken.labels.tolist() == expected.labels.tolist()
