"""Policies: one file each. See :class:`ampmix.policies.base.Policy` for how they are called."""
