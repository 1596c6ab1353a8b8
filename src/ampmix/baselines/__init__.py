"""Models without mixing that a solver fits at once: one file each, found by name."""
