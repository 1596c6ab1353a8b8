"""What there is to run: every policy at every site that the paper mixes at."""

from __future__ import annotations

from dataclasses import fields, replace

from ampmix._support.components import find
from ampmix.policies.base import Policy


def every_policy_and_site() -> list[Policy]:
    """Found, not listed, so that a new policy is among them."""
    made: list[Policy] = []
    for cls in find("ampmix.policies").values():
        policy = cls()
        sites = dict.fromkeys((policy.mixing_site, "word", "sent")) if policy.mixing_site else {}
        there = [site for site in sites if site != "sent" or not policy.needs_words]
        made += [replace(policy, site=site) for site in there] or [policy]
    return made


def every_policy_and_choice() -> list[Policy]:
    """Each policy as it is, with every one of its switches thrown, and with every name it takes."""
    made: list[Policy] = []
    for cls in find("ampmix.policies").values():
        policy = cls()
        made.append(policy)
        for field in fields(cls):
            names = policy.choices.get(field.name, ())
            if isinstance(field.default, bool):
                names = (not field.default,)
            made += [replace(policy, **{field.name: n}) for n in names if n != field.default]
    return made
