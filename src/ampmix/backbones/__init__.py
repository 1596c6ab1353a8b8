"""Backbones: one file each. See :class:`ampmix.backbones._backbone.Backbone` for what they are."""
