"""Arrays in, verdicts out: is one policy's error lower than another's, or is no difference shown?

Errors are 0/1 (or any finite numbers), a difference is policy minus baseline, so a negative one
means a lower error. Everything is in the unit of the input; ``Comparison.scaled(100)`` turns
fractions into points.

- `crossed_difference` compares over seeds and test examples, `repeated_difference` over repeats of
  cross-validation, `corrected_resampled_t` over the folds of one; `pigeonhole_interval`,
  `sign_flip_test`, `per_text_interval` and `nested_interval` are second opinions; `check_paired`
  refuses runs that are not paired; `holm` counts how many comparisons there were.
- `cross_validated_error` and `held_out_error` give the error of one model an interval.
- `temperature` and `calibrated` make probabilities as sure as they should be; `risk_coverage` is
  the error that is left where a model may abstain.
- `judge_in_turn` decides at several looks, whose error `look_levels` shares out.
- `judge_together` decides several comparisons at once, `decide` and `verdict` one of them;
  `judge_claim` and `claim_verdict` hold it against a printed result.
- `overall` makes one statement of comparisons on several data sets.
- `variance_components` and `seeds_needed` plan the next study.
- `relative_improvement` is RP, the paper's figure, and two functions give it an interval.
"""

from ampmix.statistics.calibration import calibrated, temperature
from ampmix.statistics.comparison import Comparison, Method
from ampmix.statistics.crossed import crossed_difference
from ampmix.statistics.error_rate import cross_validated_error, held_out_error
from ampmix.statistics.family import Judgement, judge_together
from ampmix.statistics.multiplicity import holm
from ampmix.statistics.over_data_sets import Overall, overall
from ampmix.statistics.pairing import Runs, check_paired
from ampmix.statistics.pigeonhole import pigeonhole_interval
from ampmix.statistics.power import Components, SeedsNeeded, seeds_needed, variance_components
from ampmix.statistics.relative import (
    RelativeImprovement,
    crossed_relative_improvement,
    relative_improvement,
    resampled_relative_improvement,
)
from ampmix.statistics.repeated import repeated_difference
from ampmix.statistics.replication import ClaimDecision, Printed, claim_verdict, judge_claim
from ampmix.statistics.resampled import corrected_resampled_t
from ampmix.statistics.second_opinions import nested_interval, per_text_interval
from ampmix.statistics.selective import RiskCoverage, risk_coverage
from ampmix.statistics.sign_flips import SignFlips, sign_flip_p, sign_flip_test
from ampmix.statistics.spending import Looks, judge_in_turn, look_levels
from ampmix.statistics.verdicts import Decision, decide, verdict, within, would_decide

__all__ = [
    "ClaimDecision",
    "Comparison",
    "Components",
    "Decision",
    "Judgement",
    "Looks",
    "Method",
    "Overall",
    "Printed",
    "RelativeImprovement",
    "RiskCoverage",
    "Runs",
    "SeedsNeeded",
    "SignFlips",
    "calibrated",
    "check_paired",
    "claim_verdict",
    "corrected_resampled_t",
    "cross_validated_error",
    "crossed_difference",
    "crossed_relative_improvement",
    "decide",
    "held_out_error",
    "holm",
    "judge_claim",
    "judge_in_turn",
    "judge_together",
    "look_levels",
    "nested_interval",
    "overall",
    "per_text_interval",
    "pigeonhole_interval",
    "relative_improvement",
    "repeated_difference",
    "resampled_relative_improvement",
    "risk_coverage",
    "seeds_needed",
    "sign_flip_p",
    "sign_flip_test",
    "temperature",
    "variance_components",
    "verdict",
    "within",
    "would_decide",
]
