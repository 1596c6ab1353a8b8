"""Try a cut on a batch: what holds texts, which axis counts them, and what goes around the site.

All by values, in evaluation mode and without gradients. The examples are put in another order, and
what follows their order holds texts. At lam = 0 each example is its partner: where all that a model
knows of a text passes the site, the logits then are the partner's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.random_state import random_state, set_random_state, with_random_state
from ampmix._torch.trees import Path, leaves
from ampmix.errors import AmpmixError
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs, padding_id
from ampmix.mixstep.model_parts import evaluating, logits_of
from ampmix.mixstep.passes import Arrival, Call, Cut, Passes
from ampmix.mixstep.places import Learned, batch_axis, no_axis


@dataclass
class Finding:
    """What a probe found.

    Attributes:
        learned: of the model.
        whole: whether all that the model knows of a text passes the site.
        masks: names of inputs that say where tokens are, and were not united.
        around: names of other inputs that reach the logits around the site.
    """

    learned: Learned
    whole: bool = True
    masks: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)


@uncompiled
def probed(cut: Cut, call: Call, inputs: Inputs, logits: str = "logits") -> Finding | None:
    """Try a cut on a batch of at least two examples; None if that tells nothing.

    Raises:
        AmpmixError: if the site is not reached, or nothing at it can be mixed.
    """
    with _quiet(inputs.model) as state:
        return _Probe(cut, call, logits, state).run(inputs)


@uncompiled
class _Probe:
    """The runs of one probe.

    Args:
        cut: the model's.
        call: runs the model.
        logits: their name.
        state: the random states that each run begins with.
    """

    def __init__(self, cut: Cut, call: Call, logits: str, state: Any) -> None:
        self.cut = replace(cut, learned=Learned())
        self.call, self.logits, self.state = call, logits, state

    def run(self, inputs: Inputs) -> Finding | None:
        order = torch.arange(inputs.batch).roll(1)
        axis = self._axis(inputs, order)
        if axis is None:
            return None
        learned = self._learn(inputs, order, axis)
        finding = Finding(learned)
        pair = self._pair(inputs, order, axis)
        if len(pair[0].united) > 1:
            learned.aside = self._aside(pair[0])
            pair = self._pair(inputs, order, axis)
        swapped, partners = self._at_zero(*pair)
        finding.whole = alike(swapped, partners)
        if not finding.whole:
            self._blame(finding, pair[0], swapped, order, axis)
        return finding

    def _plain(self, inputs: Inputs) -> Tensor:
        set_random_state(self.state)
        return logits_of(self.call(*inputs.args, **inputs.kwargs), self.logits)

    def _reach(self, inputs: Inputs, cut: Cut | None = None) -> Arrival:
        set_random_state(self.state)
        return (cut or self.cut).reach(self.call, inputs)

    def _f(self, passes: Passes, *parts: Tensor) -> Tensor:
        set_random_state(self.state)
        return logits_of(passes.f(*(part.clone() for part in parts)), self.logits)

    def _axis(self, inputs: Inputs, order: Tensor) -> int | None:
        """The axis of the inputs that counts examples: logits follow their order along it."""
        own = self._plain(inputs)
        if own.dim() == 0 or len(own) != inputs.batch:
            return None
        for axis in (0, 1):
            if alike(self._plain(inputs.reordered(order, axis)), own[order.to(own.device)]):
                return axis
        return None

    def _learn(self, inputs: Inputs, order: Tensor, axis: int) -> Learned:
        """Find what at the site, and of what came before, holds texts, masks or neither."""
        moved = inputs.reordered(order, axis)
        short = {path: _shortened(mask.present) for path, mask in inputs.masks.items()}
        same = {path: mask.present for path, mask in inputs.masks.items()}
        runs = [inputs, moved, _saying(inputs, short), _saying(moved, same)]
        own, all_moved, shorter, texts = (self._reach(x) for x in runs)
        learned = self.cut.learned
        found = [leaves(x.content) for x in (own, all_moved, shorter, texts)]
        learned.axes, learned.leaves = {}, len(found[0])
        for i, group in enumerate(zip(*found, strict=False)):
            x, y, z, t = group
            if not isinstance(x, Tensor):
                continue
            if alike(x, t):
                learned.site_made |= set() if alike(x, z) else {i}
            elif x.is_floating_point():
                learned.axes[i] = self._axis_of(x, y, order)
        if not learned.axes:
            x = next((x for x in found[0] if isinstance(x, Tensor) and x.is_floating_point()), None)
            if x is not None:
                raise AmpmixError(no_axis(self.cut.site, x, len(order), self.cut.batch_dim))
        for before, _, z, t in zip(
            *(x.memory.recorded() for x in (own, all_moved, shorter, texts)), strict=False
        ):
            parts = [leaves(x.value) for x in (before, z, t)]
            for j, (x, z_leaf, t_leaf) in enumerate(zip(*parts, strict=False)):
                if isinstance(x, Tensor) and alike(x, t_leaf) and not alike(x, z_leaf):
                    learned.made.setdefault(before.at, set()).add(j)
        return learned

    def _axis_of(self, x: Tensor, moved: Tensor, order: Tensor) -> int:
        """The axis of hidden states along which they follow the examples."""
        given = self.cut.batch_dim
        tried = range(x.dim()) if given is None else [given]
        for axis in tried:
            at = batch_axis(x, len(order), axis)
            if at is not None and alike(x.index_select(at, order.to(x.device)), moved):
                return at
        raise AmpmixError(no_axis(self.cut.site, x, len(order), given))

    def _pair(
        self, inputs: Inputs, order: Tensor, axis: int, cut: Cut | None = None
    ) -> tuple[Passes, Passes]:
        """The passes of the examples and of their partners."""
        cut = cut or self.cut
        both = Inputs(
            cut.masks, cut.padding_masks, inputs.model, inputs.args, inputs.kwargs, inputs.batch
        )
        moved = both.reordered(order, axis)
        first, second = (Passes(cut, self._reach(x, cut), self.call, x) for x in (both, moved))
        return first, second

    def _at_zero(self, own: Passes, partner: Passes) -> tuple[Tensor, Tensor]:
        """Logits of the examples with their partners at the site, and of the partners themselves."""
        n = own.hidden
        united = [a | b for a, b in zip(own.g[n:], partner.g[n:], strict=True)]
        at_site = partner.g[:n]
        return self._f(own, *at_site, *united), self._f(partner, *at_site, *united)

    def _aside(self, passes: Passes) -> set[Path]:
        """Masks of another part of the model: they hide nothing of what is at the site.

        All tokens but the first are changed at the site, once with and once without the mask hiding
        them. A mask of the site's own makes a difference to what that changes.
        """
        hidden, present = passes.g[: passes.hidden], list(passes.g[passes.hidden :])
        other = [torch.cat((x[:, :1], x.roll(1, 0)[:, 1:]), 1) if x.dim() > 2 else x for x in hidden]

        def change(masks: Sequence[Tensor]) -> float:
            return float((self._f(passes, *hidden, *masks) - self._f(passes, *other, *masks)).norm())

        everywhere, aside = change(present), set()
        for i, path in enumerate(passes.united):
            first = _first(present[i])
            hiding = change([*present[:i], first, *present[i + 1 :]])
            if path[-1] in (*MASKS, *PADDING_MASKS) and hiding > 0.9 * everywhere > 0:
                aside.add(path)
        return aside

    def _blame(
        self, finding: Finding, own: Passes, swapped: Tensor, order: Tensor, axis: int
    ) -> None:
        """Name the inputs that reach the logits around the site."""
        n, inputs = own.hidden, own.inputs
        moved = inputs.reordered(order, axis)
        masks = [a | b for a, b in zip(own.g[n:], [x[order.to(x.device)] for x in own.g[n:]], strict=True)]
        at_site = [x[order.to(x.device)] for x in own.g[:n]]
        for path, x in inputs.tensors.items():
            if path in own.united or torch.equal(x, moved.tensors[path]):
                continue
            one = copy.copy(own)
            one.inputs = inputs.new(lambda p, leaf, at=path: moved.tensors[at] if p == at else leaf)
            if alike(self._f(one, *at_site, *masks), swapped):
                continue
            name = path[-1] if len(path) == 1 else ".".join(path)
            tokens = any(g.dim() > 2 for g in at_site)
            if tokens and self._is_mask(inputs, order, axis, x, name):
                finding.masks.append(name)
            else:
                finding.around.append(name)

    def _is_mask(self, inputs: Inputs, order: Tensor, axis: int, x: Tensor, name: str) -> bool:
        """Return True if nothing of an input but where it has tokens goes around the site."""
        if x.is_floating_point() or x.dim() < 2:
            return False
        if bool((x > 1).any()) and not bool((x == padding_id(inputs.model)).any()):
            return False
        cut = replace(self.cut, masks=(*self.cut.masks, name))
        return alike(*self._at_zero(*self._pair(inputs, order, axis, cut)))


@contextmanager
@uncompiled
def _quiet(model: nn.Module) -> Iterator[Any]:
    """Evaluation mode without gradients, compiled code and a trace in the random states."""
    like = next(model.parameters(), torch.zeros(()))
    state = random_state(like)
    with ExitStack() as stack:
        stack.enter_context(with_random_state(state))
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        if hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield state


@uncompiled
def alike(a: Any, b: Any) -> bool:
    """Return True if two tensors are equal to within half of their digits.

    What is huge (what masks add to scores) is no measure for the rest.
    """
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    eps = torch.finfo(a.dtype).eps
    if torch.is_autocast_enabled(a.device.type):
        eps = max(eps, torch.finfo(torch.get_autocast_dtype(a.device.type)).eps)
    huge = torch.finfo(a.dtype).max ** 0.5
    large = a.abs() >= huge
    if not torch.equal(large, b.abs() >= huge):
        return False
    a, b = a.masked_fill(large, 0.0).double(), b.masked_fill(large, 0.0).double()
    scale = a.nan_to_num().abs().amax() if a.numel() else 0.0
    return torch.allclose(a, b, rtol=0.0, atol=float(eps**0.5 * scale), equal_nan=True)


@uncompiled
def _saying(inputs: Inputs, present: dict[Path, Tensor]) -> Inputs:
    args, kwargs = inputs.with_masks(present)
    return Inputs(*inputs.names, inputs.model, args, kwargs, inputs.batch)


@uncompiled
def _shortened(present: Tensor) -> Tensor:
    """A mask without each text's last token, if it has more than one."""
    flat = present.reshape(len(present), -1)
    last = flat.shape[1] - 1 - flat.flip(1).int().argmax(1, keepdim=True)
    shorter = flat.scatter(1, last, False)
    return torch.where(flat.sum(1, keepdim=True) > 1, shorter, flat).reshape(present.shape)


@uncompiled
def _first(present: Tensor) -> Tensor:
    """A mask with each text's first token alone."""
    flat = present.reshape(len(present), -1)
    alone = torch.zeros_like(flat).scatter(1, flat.int().argmax(1, keepdim=True), True)
    return (alone & flat).reshape(present.shape)
