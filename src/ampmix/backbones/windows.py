"""Windows over words: sums of what their words respond, and maxima of them over time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ampmix._torch.autograd import wanted
from ampmix.mixing import blend, take_pairs


def window_mask(mask: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """True for the windows that hold a word, ``[B, T, widths]``."""
    padded = F.pad(mask, (0, max(sizes) - 1))
    held = [padded]
    for _ in range(max(sizes) - 1):
        held.append(held[-1] | F.pad(held[-1], (1, 0))[:, :-1])
    return torch.stack([held[size - 1] for size in sizes], dim=-1)


def windows_of_words(responses: Tensor, places: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Sum the filter responses of the words in every window, of responses that words share.

    ``out[b, t, w] = sum_j responses[places[b, t + widest - size_w + j], slot(w, j)]``, with one
    slot for every position j in a window of width size_w: :func:`add_windows` without a copy of the
    responses for every word of every text.

    Args:
        responses: of each distinct word, ``[U, sum(sizes) * maps]``; of the first, which is
            padding unless all windows are one word wide, they are zero.
        places: which word stands where, ``[B, L + 2 * (widest - 1)]``: as many of the first before
            and behind every text as the widest window reaches beyond it.
        sizes: the windows' widths.

    Returns:
        ``[B, L + widest - 1, widths * maps]``.
    """
    h: Tensor = _WindowsOfWords.apply(responses, places, sizes)  # type: ignore[no-untyped-call]
    return h


class _WindowsOfWords(torch.autograd.Function):
    """Both directions are sums of rows, the work of ``embedding_bag``, which fetches and adds.

    Forward a bag is a window, of the rows of its words. Backward it is a slot of a word, of the
    windows that the word is in, over all its occurrences; padding gets no gradient, as what it
    multiplies is zero.
    """

    @staticmethod
    def forward(ctx: Any, responses: Tensor, places: Tensor, sizes: tuple[int, ...]) -> Tensor:
        offsets, _, firsts = _slots(sizes, places.device)
        within = places.unfold(1, max(sizes), 1)  # [B, T, widest]
        (batch, times, _), slots = within.shape, len(offsets)
        rows = within[..., offsets] * slots + _count(slots, places)
        starts = (_count(batch * times, places) * slots).unsqueeze(1) + firsts
        ctx.save_for_backward(places)
        ctx.sizes, ctx.words = sizes, len(responses)
        by_slot = responses.view(len(responses) * slots, -1)
        windows = F.embedding_bag(rows.flatten(), by_slot, starts.flatten(), mode="sum")
        return windows.view(batch, times, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (places,), sizes, grad = ctx.saved_tensors, ctx.sizes, grads[0]
        offsets, widths, _ = _slots(sizes, places.device)
        reach, (batch, times, _) = max(sizes) - 1, grad.shape
        inside = places[:, reach : places.shape[1] - reach].flatten()
        # of the window in which a word is the last of the widest; others lie offset times before
        windows = _count(batch, places).mul_(times).unsqueeze(1) + reach
        windows = (windows + _count(times - reach, places)).flatten()
        counts, order = inside.bincount(minlength=ctx.words), inside.argsort()
        if reach:
            order, counts[0] = order[counts[0] :], 0
        # bags of a word lie side by side, each with all occurrences of the word
        slots, before = len(offsets), counts.cumsum(0) - counts
        starts = (before * slots).unsqueeze(1) + counts.unsqueeze(1) * _count(slots, places)
        within = _count(len(order), places) - before[inside[order]]
        rows = (windows[order].unsqueeze(1) - offsets) * len(sizes) + widths
        bagged = torch.empty_like(rows.flatten())
        bagged[starts[inside[order]] + within.unsqueeze(1)] = rows
        by_width = grad.reshape(batch * times * len(sizes), -1)
        by_slot = F.embedding_bag(bagged, by_width, starts.flatten(), mode="sum")
        return by_slot.view(ctx.words, -1), None, None


def _slots(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return each slot's offset in the widest window and its width, and each width's first slot."""
    offsets = [max(sizes) - size + j for size in sizes for j in range(size)]
    widths = [w for w, size in enumerate(sizes) for _ in range(size)]
    firsts = [widths.index(w) for w in range(len(sizes))]
    return (
        torch.tensor(offsets, device=device),
        torch.tensor(widths, device=device),
        torch.tensor(firsts, device=device),
    )


def _count(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device)


def add_windows(by_word: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Sum the filter responses of the words in every window.

    ``out[b, t, w] = sum_j by_word[b, t - size_w + 1 + j, slot(w, j)]``, with one slot for every
    position j in a window of width size_w.

    Shapes: by_word ``[B, L, sum(sizes) * maps]``, out ``[B, L + widest - 1, widths * maps]``.
    """
    h: Tensor = _AddWindows.apply(by_word, sizes)  # type: ignore[no-untyped-call]
    return h


class _AddWindows(torch.autograd.Function):
    @staticmethod
    def _shifts(sizes: tuple[int, ...], maps: int) -> list[tuple[slice, int, slice]]:
        """For every slot: its columns in the responses, its shift in time, its output columns."""
        shifts, slot = [], 0
        for w, size in enumerate(sizes):
            out = slice(w * maps, (w + 1) * maps)
            for j in range(size):
                shifts.append((slice(slot * maps, (slot + 1) * maps), size - 1 - j, out))
                slot += 1
        return shifts

    @staticmethod
    def forward(ctx: Any, by_word: Tensor, sizes: tuple[int, ...]) -> Tensor:
        (batch, length, columns), reach = by_word.shape, max(sizes) - 1
        maps = columns // sum(sizes)
        out = by_word.new_zeros(batch, length + reach, len(sizes) * maps)
        for source, shift, target in _AddWindows._shifts(sizes, maps):
            out[:, shift : shift + length, target] += by_word[..., source]
        ctx.sizes = sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad, length = grads[0], grads[0].shape[1] - max(ctx.sizes) + 1
        maps = grad.shape[-1] // len(ctx.sizes)
        by_word = grad.new_empty(grad.shape[0], length, sum(ctx.sizes) * maps)
        for source, shift, target in _AddWindows._shifts(ctx.sizes, maps):
            by_word[..., source] = grad[:, shift : shift + length, target]
        return by_word, None


def masked_max(h: Tensor, windows: Tensor) -> Tensor:
    """Maximum over time of the windows that hold a word.

    Shapes: h ``[B, T, widths * maps]``, windows ``[B, T, widths]``, result ``[B, widths * maps]``.
    """
    pooled: Tensor = _MaskedMax.apply(h, windows)  # type: ignore[no-untyped-call]
    return pooled


class _MaskedMax(torch.autograd.Function):
    """Maximum over windows whose backward writes only where the maxima were, ten times faster."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, windows: Tensor) -> Tensor:
        barred = h.reshape(*windows.shape, -1) + _barred(windows, h)
        values, index = _max_over_time(barred.view(h.shape))
        ctx.save_for_backward(index)
        ctx.shape = h.shape
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,), (grad,) = ctx.saved_tensors, grads
        return grad.new_zeros(ctx.shape).scatter_(1, index.unsqueeze(1), grad.unsqueeze(1)), None


def _barred(windows: Tensor, like: Tensor) -> Tensor:
    """Return -inf for windows without a word and 0 for others, to add, ``[B, T, widths, 1]``."""
    return windows.to(like.dtype).log_().unsqueeze(-1)  # log 1 = 0 where there is a word


def _max_over_time(h: Tensor) -> tuple[Tensor, Tensor]:
    """``h.max(dim=1)`` as pictures of width 1, channels last: that kernel is vectorised."""
    picture = h.unsqueeze(-2).permute(0, 3, 1, 2)
    values, index = F.max_pool2d(picture, (h.shape[-2], 1), return_indices=True)
    return values.flatten(1), index.flatten(1)


def mixed_max(h: Tensor, windows: Tensor, lam: Tensor, perm: Tensor, partner: Tensor) -> Tensor:
    """Mix, then :func:`masked_max`, with gradients only where a maximum was.

    The maximum makes all but one window in T irrelevant to a feature, so the gradients of h and lam
    are read and written at those alone, where mixing first would pass over all of them again.
    """
    # views, to be asked whether their gradients are wanted: leaves cannot be asked
    own = h.view_as(h), windows, lam.view_as(lam)
    pooled: Tensor = _MixedMax.apply(*own, perm, partner)  # type: ignore[no-untyped-call]
    return pooled


def max_and_slope(
    h: Tensor, windows: Tensor, lam: Tensor, partner: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute :func:`mixed_max` and its derivative by lam, without a graph."""
    values, index = _mixed_max(h, windows, lam, partner)
    return values, _slope(h, partner, index)


def _mixed_max(h: Tensor, windows: Tensor, lam: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    mixed = blend(h, lam, partner)
    mixed.view(*windows.shape, -1).add_(_barred(windows, h))
    return _max_over_time(mixed)


def _slope(h: Tensor, partner: Tensor, index: Tensor) -> Tensor:
    at = index.unsqueeze(1)
    return h.gather(1, at).sub_(partner.gather(1, at)).squeeze(1)


class _MixedMax(torch.autograd.Function):
    """The maximum over time of mixed windows; differentiable in h and lam."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, windows: Tensor, lam: Tensor, perm: Tensor, partner: Tensor
    ) -> Tensor:
        values, index = _mixed_max(h, windows, lam, partner)
        for_lam = (h, partner) if ctx.needs_input_grad[2] else ()
        ctx.save_for_backward(lam, perm, index, *for_lam)
        ctx.shape = h.shape
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (lam, perm, index, *for_lam), grad = ctx.saved_tensors, grads[0]
        grad_h = grad_lam = None
        at = index.unsqueeze(1)
        if wanted(ctx, 2):
            h, partner = for_lam
            grad_lam = _slope(h, partner, index).mul_(grad).sum(1, dtype=lam.dtype)
        if wanted(ctx, 0):
            weight, inverse = lam.unsqueeze(-1).to(grad.dtype), perm.argsort()
            partner_grad = take_pairs(grad * (1 - weight), inverse).unsqueeze(1)
            grad_h = grad.new_zeros(ctx.shape).scatter_(1, at, (grad * weight).unsqueeze(1))
            grad_h.scatter_add_(1, take_pairs(at, inverse), partner_grad)
        return grad_h, None, grad_lam, None, None
