"""What there is to run: every policy at every site that the paper mixes at."""

from __future__ import annotations

from dataclasses import replace

from ampmix._support.components import find
from ampmix.policies.base import Policy


def every_policy_and_site() -> list[Policy]:
    """Found, not listed, so that a new policy is among them."""
    made: list[Policy] = []
    for cls in find("ampmix.policies").values():
        policy = cls()
        sites = dict.fromkeys((policy.mixing_site, "word", "sent")) if policy.mixing_site else {}
        made += [replace(policy, site=site) for site in sites] or [policy]
    return made
