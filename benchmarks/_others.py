"""Other libraries on texts that they are given, each in an environment of its own.

    PYTHON _others.py LIBRARY FOLDER IN.json OUT.json

Imports nothing of ampmix. IN has train and test texts, labels of the former, a seed and a recipe;
OUT the predicted classes and the seconds of training.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def by_trainer(folder: str, given: dict[str, Any]) -> tuple[list[int], float]:
    """Fine-tuning all layers with transformers' Trainer, at the steps and rate that are given."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(given["seed"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    train = [
        {**tokenizer(text), "labels": y}
        for text, y in zip(given["texts"], given["labels"], strict=True)
    ]
    test = [{**tokenizer(text), "labels": 0} for text in given["test"]]
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=max(given["labels"]) + 1
    )
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            max_steps=given["steps"],
            per_device_train_batch_size=given["batch_size"],
            per_device_eval_batch_size=64,
            learning_rate=given["lr"],
            weight_decay=given["weight_decay"],
            warmup_steps=int(given["warmup"] * given["steps"]),
            seed=given["seed"],
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=train, processing_class=tokenizer)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        logits = torch.as_tensor(trainer.predict(test).predictions)
    return logits.argmax(1).tolist(), seconds


def by_setfit(folder: str, given: dict[str, Any]) -> tuple[list[int], float]:
    """SetFit (Tunstall et al., 2022): 20 pairs a text and kind, else its own defaults."""
    from datasets import Dataset
    from setfit import (  # type: ignore[import-not-found]
        SetFitModel,
        Trainer,
        TrainingArguments,
    )

    model = SetFitModel.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out, num_iterations=20, seed=given["seed"], report_to="none", save_strategy="no"
        )
        data = Dataset.from_dict({"text": given["texts"], "label": given["labels"]})
        trainer = Trainer(model, arguments, train_dataset=data)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    return [int(y) for y in model.predict(given["test"])], seconds


def main() -> None:
    """Read, train, predict, write."""
    import torch

    torch.set_num_threads(1)
    library, folder, source, out = sys.argv[1:]
    given = json.loads(Path(source).read_text(encoding="utf-8"))
    run = {"trainer": by_trainer, "setfit": by_setfit}[library]
    predicted, seconds = run(folder, given)
    content = {"predicted": predicted, "seconds": seconds}
    Path(out).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
