"""Checks of what options of policies may be."""

from __future__ import annotations

from collections.abc import Sequence

from ampmix.errors import AmpmixError


def check_share(name: str, value: float) -> None:
    """Raise unless an option is a share, in [0, 1]."""
    if not 0 <= value <= 1:
        raise AmpmixError(f"{name} is {value}: it must be in [0, 1]")


def check_amount(name: str, value: float) -> None:
    """Raise unless an option is a finite number of 0 or above."""
    if not 0 <= value < float("inf"):
        raise AmpmixError(f"{name} is {value}: it must be a number of 0 or above")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless an option is one of several names."""
    if value not in choices:
        raise AmpmixError(f"{name} is {value!r}: it must be {' or '.join(choices)}")


def check_steps(steps: int) -> None:
    """Raise unless there is a step to take."""
    if steps < 1:
        raise AmpmixError(f"steps is {steps}: it must be 1 or more")


def check_alpha(alpha: float) -> None:
    """Raise unless alpha parametrises a Beta distribution."""
    if not 1e-6 <= alpha <= 1e6:
        raise AmpmixError(
            f"alpha is {alpha}: it must be above 0, from 1e-6 to 1e6 (the paper uses 1)"
        )


def check_rounds(rounds: int) -> None:
    """Raise unless there is a round to do."""
    if rounds < 1:
        raise AmpmixError(f"rounds is {rounds}: it must be 1 or more")


def check_draws(draws: int) -> None:
    """Raise unless there is a draw to take a mean of."""
    if draws < 1:
        raise AmpmixError(f"draws is {draws}: it must be 1 or more")


def check_temperature(value: float) -> None:
    """Raise unless T can sharpen or flatten probabilities."""
    if not 1e-6 <= value <= 1e6:
        raise AmpmixError(
            f"T is {value}: it must be above 0, from 1e-6 to 1e6; below 1 it makes probabilities "
            "sharper"
        )
