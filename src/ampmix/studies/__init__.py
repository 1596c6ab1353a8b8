"""Plans of runs, and what carries them out: comparisons, studies, executors."""

DEFAULT_POLICIES = "none,mixup,amp,mixup[site=sent],amp[site=sent]"
