"""The baseline beside every backbone: TF-IDF and logistic regression on the same split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ampmix.baselines.tfidf_logreg import TfidfLogreg
from ampmix.data.dataset import Split
from ampmix.records.store import BASELINE
from ampmix.training.config import TrainConfig
from ampmix.training.solve import solve
from ampmix.training.training_run import Fit

NAME = BASELINE
MODEL = TfidfLogreg()


def fit_baseline(data: Split) -> Fit:
    """Fit the baseline to a split."""
    return solve(MODEL, data, TrainConfig())


def errors(data: Split) -> npt.NDArray[np.bool_]:
    """Return True for each test text that the baseline gets wrong, bool ``[n_test]``."""
    return fit_baseline(data).test_wrong
