"""The base classes of normalisations that keep running statistics."""

from __future__ import annotations

from torch import nn

KEEPING = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
"""What ``isinstance`` asks for: of all dimensions, lazy and synchronised ones too."""
