"""Records into comparisons, groups and replications; no torch, nothing drawn."""
