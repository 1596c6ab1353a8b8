"""Forms of the backbones with an axis of seeds."""
