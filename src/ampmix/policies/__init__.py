"""Policies: one file each. See :class:`ampmix.policies._policy.Policy` for how they are called."""
