"""Search policies and learning rates with scikit-learn, then try the best on texts kept aside."""

from pathlib import Path

import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from ampmix import MixupTextClassifier

tickets = pl.read_csv(Path(__file__).with_name("support-tickets.csv"))
train, test, train_y, test_y = train_test_split(
    tickets["text"].to_list(),
    tickets["label"].to_list(),
    test_size=0.25,
    stratify=tickets["label"],
    random_state=0,
)

# A small network and few steps, to be done in seconds; random_state pairs the policies.
network = MixupTextClassifier(
    backbone="cnn[embedding_dim=100,feature_maps=30]", steps=60, random_state=0
)
grid = {"policy": ["none", "mixup", "amp[eps=0.1]"], "lr": [5e-3, 1e-2]}
search = GridSearchCV(network, grid, cv=2).fit(train, train_y)

results = search.cv_results_
for settings, mean in zip(results["params"], results["mean_test_score"], strict=True):
    print(f"{settings['policy']:13} lr {settings['lr']:<6} right {mean:.1%}")

yardstick = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(train, train_y)
print(f"best on {len(test)} texts kept aside: {search.score(test, test_y):.1%}")
print(f"TF-IDF and logistic regression:     {yardstick.score(test, test_y):.1%}")
