"""Did AMP help? Two Trainers of transformers with three seeds each, judged on one test set."""

import tempfile

import numpy as np
import torch
from sklearn.datasets import make_classification
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments, set_seed

import ampmix
from ampmix import AMP, MixupTrainer, NoMixup

# Stands for texts of yours: 32 tokens that tell the class, with noise.
words, labels = make_classification(600, 32, n_informative=8, flip_y=0.1, random_state=0)
tokens = torch.tensor(np.clip(words * 8 + 50, 1, 99)).long()
rows = [{"input_ids": t, "label": int(y)} for t, y in zip(tokens, labels, strict=True)]
train, test = rows[:300], rows[300:]
config = BertConfig(
    vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
)

scores: dict[str, list[np.ndarray]] = {"none": [], "amp": []}
for name, policy in (("none", NoMixup()), ("amp", AMP(eps=0.1))):
    for seed in range(3):
        set_seed(seed)
        trainer = MixupTrainer(
            model=BertForSequenceClassification(config),
            args=TrainingArguments(
                tempfile.mkdtemp(), max_steps=30, seed=seed, learning_rate=2e-3, report_to="none"
            ),
            train_dataset=train,
            policy=policy,
            site="word",
        )
        trainer.train()
        logits = torch.tensor(trainer.predict(test).predictions)
        scores[name].append(logits.softmax(-1).numpy())
print(ampmix.judge(scores, labels=labels[300:], metric="log-loss"))
print(ampmix.judge(scores, labels=labels[300:]))
