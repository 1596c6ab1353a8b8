"""ampmix: Mixup and the Adversarial Mixing Policy for text classifiers, and whether they helped."""

from __future__ import annotations

from ampmix.errors import AmpmixError
from ampmix.mixing import mix, pair, sample_lam
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup

__version__ = "0.1.0"
__all__ = ["AMP", "AmpmixError", "Mixup", "NoMixup", "mix", "pair", "sample_lam"]
