"""Does a pipeline err less than another? Repeated cross-validation of scikit-learn, judged."""

from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline

import ampmix

tickets = pl.read_csv(Path(__file__).with_name("support-tickets.csv"))
texts = tickets["text"].to_numpy()
classes, labels = np.unique(tickets["label"].to_numpy(), return_inverse=True)
pipelines = {
    "logistic": make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
    "bayes": make_pipeline(TfidfVectorizer(), ComplementNB()),
}

predicted = {name: np.empty((3, len(labels)), int) for name in pipelines}
folds = np.empty((3, len(labels)), int)
for repeat in range(3):
    splits = StratifiedKFold(5, shuffle=True, random_state=repeat).split(texts, labels)
    for fold, (train, test) in enumerate(splits):
        folds[repeat, test] = fold
        for name, pipeline in pipelines.items():
            pipeline.fit(texts[train], labels[train])
            predicted[name][repeat, test] = pipeline.predict(texts[test])

for metric in ("error", "macro-f1"):
    print(ampmix.judge(predicted, labels=labels, folds=folds, metric=metric))
