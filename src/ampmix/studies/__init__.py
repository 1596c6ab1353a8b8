"""Plans of runs, and what carries them out: comparisons, studies, executors."""
