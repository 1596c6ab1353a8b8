"""What there is to run: every policy at every site that the paper mixes at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from ampmix._support.components import find
from ampmix.policies.base import Policy


def every_policy_and_site() -> list[Policy]:
    """Found, not listed, so that a new policy is among them.

    Those that the paper's tables do not have stand at their own site alone: whole runs of each at
    each would take long.
    """
    made: list[Policy] = []
    for cls in find("ampmix.policies").values():
        policy = cls()
        made += at_sites(policy, ("word", "sent") if policy.printed or policy.learns else ())
    return made


def at_sites(policy: Policy, sites: Sequence[str] = ("word", "sent")) -> list[Policy]:
    """Return a policy as it is and at other sites that it can have."""
    if policy.mixing_site is None:
        return [policy]
    there = [site for site in sites if site != "sent" or not policy.needs_words]
    every = dict.fromkeys((policy.mixing_site, *there))
    return [replace(policy, site=site) for site in every]  # type: ignore[call-arg]


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
