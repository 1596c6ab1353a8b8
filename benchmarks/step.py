"""What a training step costs: policies, sites, a minimal loop by hand, and a naive AMP.

    python benchmarks/step.py [--rounds N]

One thread, real batches of 50 TREC questions (AMPMIX_DATA, else downloaded), all candidates in turn
on the same batch, over and over; medians, and ratios of medians with the quartiles of the
batch-by-batch ratio. Written to ``benchmarks/results/step.json``.

The naive AMP is written here in the style of the paper's released code, to have something to
compare with: three ``Conv1d``, padding to the data set's longest question, binary cross-entropy on
softmax outputs, the lambda gradient from a full backward pass with the graph retained.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _fits_step import fits_step
from _measuring import Step, matmul_speed, measure, memory_speed, ratios, report
from ampmix import datasets
from ampmix._torch.matmul import linear
from ampmix.backbones.text_cnn import TextCNN
from ampmix.data.splits import split_holdout
from ampmix.text.reader import WordReader
from ampmix.training.config import TrainConfig
from ampmix.training.step import TrainingBatch, generator_of, training_batches
from ampmix.training.training_run import _encode

POLICIES = ("none", "mixup", "amp", "mixup[site=sent]", "amp[site=sent]")
WANTED = (
    ("WordAMP / WordMixup", "amp", "mixup", "<= 1.12"),
    ("SentAMP / SentMixup", "amp[site=sent]", "mixup[site=sent]", "<= 1.05"),
    ("fit's step / minimal loop, none", "none", "minimal none", "<= 1.1"),
    ("fit's step / minimal loop, mixup", "mixup", "minimal mixup", "<= 1.1"),
    ("naive AMP / WordAMP", "naive amp", "amp", ">= 6"),
    ("naive Mixup / WordMixup", "naive mixup", "mixup", ""),
)


def minimal(policy: str, reader: WordReader, classes: int) -> Step:
    """What somebody who knows our TextCNN and mixup would write for one fixed policy, no more."""
    model = TextCNN().build(reader, classes, generator_of(0, "weights"))
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, weight_decay=1e-8, fused=True)

    def step(batch: TrainingBatch) -> float:
        ids, mask, y, *_ = batch
        if policy == "none":
            f, g = model.cut(ids, mask)
            loss = F.cross_entropy(f(*g), y)
        else:
            f, (h, windows) = model.cut(ids, mask, "word")
            lam, perm = torch.rand(len(y)), torch.randperm(len(y))
            weight = lam[:, None, None]
            logits = f(weight * h + (1 - weight) * h[perm], windows | windows[perm])
            own = F.cross_entropy(logits, y, reduction="none")
            partner = F.cross_entropy(logits, y[perm], reduction="none")
            loss = (lam * own + (1 - lam) * partner).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


class NaiveCNN(nn.Module):
    """Three Conv1d over embeddings of questions padded to one length, softmax at the end."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 300, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(300, 100, size) for size in (3, 4, 5))
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(300, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class probabilities."""
        pooled = [F.relu(conv(x.transpose(1, 2))).amax(-1) for conv in self.convolutions]
        found: Tensor = self.output(self.dropout(torch.cat(pooled, 1))).softmax(-1)
        return found


def naive(policy: str, vocabulary: int, classes: int, length: int) -> Step:
    """Mixup or AMP on word embeddings in the style of the released code."""
    model = NaiveCNN(vocabulary, classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, weight_decay=1e-8)

    def mixed(ids: Tensor, y: Tensor, lam: Tensor, lam_label: Tensor, perm: Tensor) -> Tensor:
        x = model.embedding(ids)
        x = lam[:, None, None] * x + (1 - lam[:, None, None]) * x[perm]
        target = lam_label[:, None] * y + (1 - lam_label[:, None]) * y[perm]
        return F.binary_cross_entropy(model(x), target, reduction="none").mean(1)

    def step(batch: TrainingBatch) -> float:
        ids = F.pad(batch[0], (0, length - batch[0].shape[1]))
        y = F.one_hot(batch[2], classes).float()
        lam, perm = torch.rand(len(y)), torch.randperm(len(y))
        if policy == "mixup":
            final = mixed(ids, y, lam, lam, perm)
        else:
            moving = lam.clone().requires_grad_()
            loss = mixed(ids, y, moving, lam, perm)
            loss.mean().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            assert moving.grad is not None
            lam_adv = (lam + 0.002 * moving.grad.clamp(-1, 1)).clamp(0, 1)
            loss_adv = mixed(ids, y, lam_adv, lam, perm)
            larger = (loss_adv > loss).float().detach()
            final = larger * loss_adv + (1 - larger) * loss
        optimizer.zero_grad()
        final.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return final.mean().item()

    return step


def work_of(batch: TrainingBatch, classes: int, parameters: int) -> tuple[float, float, float]:
    """What a step of ``none`` has to do, at least, whoever writes it.

    Returns:
        Arithmetic in matrix products, forward and two backward passes, where each distinct word of
        the batch goes through the filters once; the same where every position of the padded batch
        does, as in a textbook CNN; and the bytes that an exact Adam moves: it reads the weights,
        gradients and two moments, writes all but the gradients, and somebody wrote these (float32).
    """
    words, positions = torch.unique(batch[0]).numel(), batch[0].numel()
    head = 3 * 2 * len(batch[2]) * 300 * classes
    flops, textbook = (3 * 2 * n * 300 * 1200 + head for n in (words, positions))
    return flops, textbook, 4.0 * 8 * parameters


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    data = split_holdout(datasets.load("trec"), seed=0)
    reader, parts = _encode(TextCNN(), data, 512, ())
    batches = list(training_batches(parts.train, TrainConfig(steps=60), seed=0))
    assert isinstance(reader, WordReader)
    sizes = (reader, len(data.classes))
    length = int(parts.train.lengths.max())
    steps = {policy: fits_step(TextCNN(), policy, *sizes, TrainConfig()) for policy in POLICIES}
    steps |= {f"minimal {policy}": minimal(policy, *sizes) for policy in ("none", "mixup")}
    steps |= {
        f"naive {policy}": naive(policy, len(reader), sizes[1], length)
        for policy in ("mixup", "amp")
    }
    times = measure(steps, batches, arguments.rounds)
    found = ratios(times, WANTED)
    arithmetic, faster, memory = matmul_speed(), matmul_speed(linear), memory_speed()
    model = TextCNN().build(*sizes, generator_of(0, "weights"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    work = np.array([work_of(batch, sizes[1], parameters) for batch in batches]).mean(0)
    seconds = 1e-3 * float(np.median(times["none"]))
    once, textbook, moved = (work / seconds).tolist()
    roofline = {
        "PyTorch's matrix products, each word once": once / arithmetic,
        "the faster ones that it uses, each word once": once / faster,
        "PyTorch's, as a textbook CNN would need them": textbook / arithmetic,
        "memory, for the optimiser alone": moved / memory,
    }
    report(
        "step",
        times,
        found,
        matmul_flops_per_second=arithmetic,
        faster_matmul_flops_per_second=faster,
        memory_bytes_per_second=memory,
        roofline=roofline,
    )
    print(
        f"of {arithmetic / 1e9:.0f} GFLOP/s by PyTorch, {faster / 1e9:.0f} by the faster products "
        f"and {memory / 1e9:.1f} GB/s, a step of none reaches"
    )
    for title, share in roofline.items():
        print(f"  {title:52s}{share:6.0%}")


if __name__ == "__main__":
    main()
