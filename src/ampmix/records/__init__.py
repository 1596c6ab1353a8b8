"""Records of runs: their store, schema, provenance and data frame."""
