"""Names of policies and backbones in the paper's tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    from ampmix.analysis.groups import Group
    from ampmix.analysis.replication import Method


def method_of(policy: str) -> Method | None:
    """The paper's method of that spec string; None if its tables have no such thing."""
    from dataclasses import fields

    from ampmix._support.components import POLICIES, is_own
    from ampmix.analysis.replication import Method

    try:
        found = POLICIES.parse(policy)
    except AmpmixError:
        return None  # the baseline, or a policy that is no longer there
    if not is_own(type(found), POLICIES.package):
        return None
    defaults = {f.name: f.default for f in fields(found)}
    kept = {name: defaults[name] for name in ("alpha", "min_op") if name in defaults}
    name = replace(found, **kept).reference_name
    if not name:
        return None
    return Method(name, getattr(found, "alpha", 1.0), getattr(found, "min_op", True))


def named(group: Group) -> Group:
    """The group with the paper's names, where its records are older than those names."""
    from ampmix._support import components
    from ampmix._support.attempts import paper_name
    from ampmix._support.components import BACKBONES

    if group.printed_as is not None:
        return group
    known = components.find("ampmix.datasets").get(str(group.specification["dataset"]))
    try:
        identity = str(group.specification["backbone"])
        backbone = paper_name(BACKBONES.parse(identity))
    except AmpmixError:
        backbone = ""
    return replace(group, printed_as=(getattr(known, "title", ""), backbone))
