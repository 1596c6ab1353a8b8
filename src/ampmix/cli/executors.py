"""Make the executor of a study that the options describe."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any


def opener_of(arguments: argparse.Namespace, slots: int, replicas: list[int]) -> Any:
    """Return what makes the executor that ``--executor`` names.

    Args:
        arguments: the options of ``ampmix study``.
        slots: runs at once.
        replicas: by plan, seeds that are trained at once.
    """
    from ampmix.studies.executors import InProcess, Pool
    from ampmix.studies.executors.pool import gpus

    limit = arguments.time_limit
    if arguments.executor == "here":
        return partial(InProcess, replicas=replicas, time_limit=limit)
    if arguments.executor == "processes":

        def pool(plans: Any, models: Any, on_step: Any) -> Any:
            cuda = any(plan.config.device == "cuda" for plan in plans)
            devices = gpus() if cuda else ()
            return Pool(plans, models, on_step, slots, {}, devices, replicas, limit)

        return pool

    def ray(plans: Any, models: Any, on_step: Any) -> Any:
        from ampmix.studies.executors.on_ray import Ray

        limits = arguments.workers, arguments.gpus_per_run, limit
        return Ray(plans, models, arguments.address, *limits)

    return ray
