"""Every backbone found, in the tiny size that it declares itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ampmix._support.components import find, spec
from tiny_encoders import TINY


def classes() -> list[Any]:
    """Found, not listed; a subclass of another varies it, and the other stands for both."""
    found = list(find("ampmix.backbones").values())
    return [cls for cls in found if not any(base in found for base in cls.__mro__[1:])]


def every_backbone() -> list[Any]:
    """One of each; one that is made from a model's folder has :data:`tiny_encoders.TINY` for it."""
    return [
        cls(**cls.tiny, **({"model": TINY} if made_from_a_folder(cls) else {})) for cls in classes()
    ]


def every_spec(folder: str) -> dict[str, str]:
    """Their spec strings by name; those made from a folder have this one."""
    return {made.name: spec(made).replace(TINY, folder) for made in every_backbone()}


def made_from_a_folder(backbone: Any) -> bool:
    """True for those with an option `model`."""
    return "model" in {field.name for field in fields(backbone)}
