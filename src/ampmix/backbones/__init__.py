"""Backbones: one file each. See :class:`ampmix.backbones.base.Backbone` for what they are."""
