"""ampmix: Mixup and the Adversarial Mixing Policy for text classifiers, and whether they helped.

Every name is imported when it is first used: the mixing core (policies and pure functions) brings
PyTorch and nothing heavier, and the command line answers, also to Ctrl-C, before PyTorch is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.analysis.judge import judge
    from ampmix.backbones.base import Backbone
    from ampmix.backbones.text_cnn import TextCNN
    from ampmix.data.splits import split_fold, split_holdout, split_train
    from ampmix.datasets import load as load_dataset
    from ampmix.integrations.lightning import MixupCallback as MixupCallback
    from ampmix.integrations.sklearn import MixupTextClassifier
    from ampmix.integrations.transformers import MixupTrainer as MixupTrainer
    from ampmix.integrations.transformers import MixupTrainerMixin as MixupTrainerMixin
    from ampmix.mixing import Loss, cross_entropy, mix, pair, sample_lam
    from ampmix.mixstep.site_table import sites
    from ampmix.mixstep.step import MixStep
    from ampmix.models.classifier import Classifier
    from ampmix.models.on_data import evaluate
    from ampmix.policies.amp import AMP
    from ampmix.policies.base import Learner, Mixed, Policy
    from ampmix.policies.mixup import Mixup
    from ampmix.policies.none import NoMixup
    from ampmix.policies.nonlinear import NonlinearMixup
    from ampmix.records.dataframe import load_records
    from ampmix.studies.compare import compare
    from ampmix.studies.plan import Plan
    from ampmix.studies.run import run_study
    from ampmix.studies.study import Study
    from ampmix.training.config import TrainConfig
    from ampmix.training.fit import fit

__version__ = "0.1.0"
__all__ = [
    "AMP",
    "AmpmixError",
    "Backbone",
    "Classifier",
    "Learner",
    "Loss",
    "MixStep",
    "Mixed",
    "Mixup",
    "MixupTextClassifier",
    "NoMixup",
    "NonlinearMixup",
    "Plan",
    "Policy",
    "Study",
    "TextCNN",
    "TrainConfig",
    "compare",
    "cross_entropy",
    "evaluate",
    "fit",
    "judge",
    "load_dataset",
    "load_records",
    "mix",
    "pair",
    "run_study",
    "sample_lam",
    "sites",
    "split_fold",
    "split_holdout",
    "split_train",
]

# those of extras are not in __all__: `from ampmix import *` must not ask for what is not installed
_LAZY = {
    "AMP": ("ampmix.policies.amp", "AMP"),
    "Backbone": ("ampmix.backbones.base", "Backbone"),
    "Classifier": ("ampmix.models.classifier", "Classifier"),
    "Learner": ("ampmix.policies.base", "Learner"),
    "Loss": ("ampmix.mixing", "Loss"),
    "MixStep": ("ampmix.mixstep.step", "MixStep"),
    "Mixed": ("ampmix.policies.base", "Mixed"),
    "Mixup": ("ampmix.policies.mixup", "Mixup"),
    "MixupCallback": ("ampmix.integrations.lightning", "MixupCallback"),
    "MixupTextClassifier": ("ampmix.integrations.sklearn", "MixupTextClassifier"),
    "MixupTrainer": ("ampmix.integrations.transformers", "MixupTrainer"),
    "MixupTrainerMixin": ("ampmix.integrations.transformers", "MixupTrainerMixin"),
    "NoMixup": ("ampmix.policies.none", "NoMixup"),
    "NonlinearMixup": ("ampmix.policies.nonlinear", "NonlinearMixup"),
    "Plan": ("ampmix.studies.plan", "Plan"),
    "Policy": ("ampmix.policies.base", "Policy"),
    "Study": ("ampmix.studies.run", "Study"),
    "TextCNN": ("ampmix.backbones.text_cnn", "TextCNN"),
    "TrainConfig": ("ampmix.training.config", "TrainConfig"),
    "compare": ("ampmix.studies.compare", "compare"),
    "cross_entropy": ("ampmix.mixing", "cross_entropy"),
    "evaluate": ("ampmix.models.on_data", "evaluate"),
    "fit": ("ampmix.training.fit", "fit"),
    "judge": ("ampmix.analysis.judge", "judge"),
    "load_dataset": ("ampmix.datasets", "load"),
    "load_records": ("ampmix.records.dataframe", "load_records"),
    "mix": ("ampmix.mixing", "mix"),
    "pair": ("ampmix.mixing", "pair"),
    "run_study": ("ampmix.studies.run", "run_study"),
    "sample_lam": ("ampmix.mixing", "sample_lam"),
    "sites": ("ampmix.mixstep.site_table", "sites"),
    "split_fold": ("ampmix.data.splits", "split_fold"),
    "split_holdout": ("ampmix.data.splits", "split_holdout"),
    "split_train": ("ampmix.data.splits", "split_train"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ampmix' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
