"""Data sets in memory, their splits, and the overlap of their parts."""
