"""Perturbations of hidden states that raise a loss, within a ball around each example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ampmix._torch.autograd import gradients_of
from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators, draw_each
from ampmix.mixing.words import beside, presence

STEP = 2.5  # all steps together, in radii of the ball
Noise = list[Tensor]
"""A perturbation: for each floating-point part of g a tensor of its shape, at least float32."""


@uncompiled
@dataclass(frozen=True, eq=False)
class Surroundings:
    """Hidden states of a batch, and what is near them.

    An example's hidden states at all words, of all parts, are one vector g_i. Lengths are measured
    in its norm, so that a step means alike at any site of any model. Padding is never moved.

    Attributes:
        g: the parts of the hidden states.
        dims: how many axes count examples.
        present: for each floating-point part ``[..., B, L, 1]``, or None (:func:`presence`).
        norm: ``||g_i||``, ``[..., B]``, a constant.
    """

    g: tuple[Tensor, ...]
    dims: int
    present: list[Tensor | None]
    norm: Tensor

    @classmethod
    def of(cls, g: tuple[Tensor, ...], shape: torch.Size) -> Surroundings:
        """Measure the hidden states of a batch of that shape, ``[..., B]``."""
        dims, present = len(shape), list[Tensor | None]()
        floating = [x.detach() for x in g if x.is_floating_point()]
        for x in floating:
            held = presence(g, x, dims)
            present.append(None if held is None else beside(held, x))
        around = cls(g, dims, present, torch.empty(0))
        own = around.held([x.to(torch.promote_types(x.dtype, torch.float32)) for x in floating])
        return cls(g, dims, present, around.length(own))

    def held(self, noise: Noise) -> Noise:
        """Return the perturbation with zeros at padding."""
        pairs = zip(noise, self.present, strict=True)
        return [x if held is None else x.masked_fill(~held, 0.0) for x, held in pairs]

    def length(self, noise: Noise) -> Tensor:
        """Norms of a perturbation, ``[..., B]``, over all parts."""
        squares = [x.square().reshape(*x.shape[: self.dims], -1).sum(-1) for x in noise]
        return torch.stack([part.to(squares[0].dtype) for part in squares]).sum(0).sqrt()

    def scaled(self, noise: Noise, share: float) -> Noise:
        """Return each example's perturbation with the length ``share * ||g_i||``; zeros stay."""
        return self._times(self.held(noise), share, at_most=False)

    def within(self, noise: Noise, share: float) -> Noise:
        """Project each example's perturbation onto the ball of radius ``share * ||g_i||``."""
        return self._times(noise, share, at_most=True)

    def _times(self, noise: Noise, share: float, at_most: bool) -> Noise:
        largest = torch.stack([_largest(x, self.dims) for x in noise]).amax(0)
        safe = torch.where(largest > 0, largest, 1.0)  # squares neither overflow nor vanish
        noise = [x / beside(safe, x) for x in noise]
        length = self.length(noise)
        factor = share * self.norm / torch.where(length > 0, length, 1.0)
        if at_most:
            factor = torch.minimum(factor, safe)
        return [x * beside(factor.to(x.dtype), x) for x in noise]

    def zeros(self) -> Noise:
        """Return no perturbation."""
        return [
            torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
            for x in self.g
            if x.is_floating_point()
        ]

    def directions(self, generator: Generators) -> Noise:
        """Draw Gaussian perturbations."""

        def draw(of: Tensor) -> Tensor:
            def normal(shape: object, one: torch.Generator | None) -> Tensor:
                return torch.randn(shape, generator=one, device=of.device, dtype=of.dtype)  # type: ignore[call-overload,no-any-return]

            return draw_each(normal, of.shape, generator)

        return [draw(x) for x in self.zeros()]

    def moved(self, noise: Noise, g: tuple[Tensor, ...] | None = None) -> tuple[Tensor, ...]:
        """Return new hidden states ``g + noise``, rounded once; masks as they are."""
        left = iter(noise)
        parts = self.g if g is None else g
        return tuple((x + next(left)).to(x.dtype) if x.is_floating_point() else x for x in parts)

    def gradients(self, objective: Callable[..., Tensor], at: Noise) -> Noise:
        """Gradients of each example's `objective` by the perturbation, no weight's among them.

        They are those of the sum, so that they do not depend on the size of the batch.
        """
        constant = tuple(x.detach() for x in self.g)
        with torch.enable_grad():
            noise = [x.detach().clone().requires_grad_() for x in at]
            return gradients_of(objective(*self.moved(noise, constant)), noise)


@uncompiled
def climbing(
    around: Surroundings, objective: Callable[..., Tensor], eps: float, steps: int
) -> Iterator[Noise]:
    """Projected gradient ascent, ``r <- P(r + (2.5 eps / steps) ||g_i|| d / ||d||)``, from r = 0.

    Here d is the gradient of `objective` at g + r, and P projects onto ``||r_i|| <= eps ||g_i||``.
    Steps are as long as Madry et al. (2018) make them, so that r can reach any side of the ball.

    Args:
        around: the hidden states.
        objective: values ``[..., B]`` of hidden states, to be made larger.
        eps: radius of the ball, as a share of ``||g_i||``.
        steps: how many.

    Yields:
        r at the start and after each step.
    """
    noise, step = around.zeros(), STEP * eps / steps
    yield noise
    for _ in range(steps):
        uphill = around.scaled(around.gradients(objective, noise), step)
        moved = [own + more for own, more in zip(noise, uphill, strict=True)]
        noise = around.within(moved, eps)
        yield noise


@uncompiled
def climb(around: Surroundings, objective: Callable[..., Tensor], eps: float, steps: int) -> Noise:
    """Return r after all steps of :func:`climbing`."""
    *_, noise = climbing(around, objective, eps, steps)
    return noise


def _largest(x: Tensor, dims: int) -> Tensor:
    return x.abs().reshape(*x.shape[:dims], -1).amax(-1)
