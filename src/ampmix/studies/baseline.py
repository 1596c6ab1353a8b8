"""The baseline of every comparison: TF-IDF and logistic regression on the same split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ampmix.data.dataset import Split
from ampmix.records.store import BASELINE
from ampmix.text.tokenizers import TOKENIZERS

NAME = BASELINE


def errors(data: Split) -> npt.NDArray[np.bool_]:
    """Return True for each test text that the baseline gets wrong, bool ``[n_test]``."""
    return predictions(data)[0]


def predictions(data: Split) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Fit TF-IDF + logistic regression; return its errors on the test part and its probabilities.

    On words and pairs of words (the data set's own tokenizer, logarithmic counts), with C = 10. It
    has no use for a development set, so it trains on those labels too: a network sees them as well,
    to choose its step. The solver is SAG (Schmidt et al., 2017), which of features of one scale,
    as these are, makes the same model as scikit-learn's default to within its tolerance: on the
    160,375 phrases and sentences of SST-1 in 9 s instead of 38, and with the lower loss.

    Args:
        data: a split.

    Returns:
        bool ``[n_test]``, true where wrong, and float32 ``[n_test, n_classes]``.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(
            tokenizer=TOKENIZERS[data.tokenizer],
            token_pattern=None,
            lowercase=False,
            ngram_range=(1, 2),
            sublinear_tf=True,
        ),
        LogisticRegression(C=10.0, solver="sag", tol=1e-3, max_iter=1000, random_state=0),
    )
    labels = np.concatenate([data.train.labels, data.dev.labels])
    model.fit(data.train.texts + data.dev.texts, labels)
    wrong: npt.NDArray[np.bool_] = model.predict(data.test.texts) != data.test.labels
    probabilities = np.zeros((len(data.test), len(data.classes)), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(data.test.texts)
    return wrong, probabilities
