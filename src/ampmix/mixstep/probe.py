"""Try a cut on a batch: what holds texts, which axis counts them, and what goes around the site.

All by values, in evaluation mode and without gradients. The examples are put in another order, and
what follows their order holds texts. At lam = 0 each example is its partner: where all that a model
knows of a text passes the site, the logits then are the partner's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.precision import unit_of
from ampmix._torch.random_state import random_state, set_random_state, with_random_state
from ampmix._torch.trees import Path, leaves
from ampmix.errors import AmpmixError
from ampmix.mixstep.batch_inputs import MASKS, PADDING_MASKS, Inputs, padding_id
from ampmix.mixstep.model_parts import evaluating, logits_of
from ampmix.mixstep.passes import Arrival, Call, Cut, Passes
from ampmix.mixstep.places import Learned, batch_axis, no_axis

Run = tuple[Arrival, Inputs]


@dataclass
class Finding:
    """The findings of a probe.

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
    with quiet(inputs.model) as state:
        probe = _Probe(cut, call, logits, state)
        try:
            return probe.run(inputs)
        finally:
            cut.before = cut.before or probe.cut.before


@uncompiled
def whole_at(cut: Cut, call: Call, inputs: Inputs, order: Tensor, axis: int, logits: str) -> bool:
    """Return True if all that a model knows of a text passes a site; ``order`` are the partners."""
    with quiet(inputs.model) as state:
        probe = _Probe(cut, call, logits, state)
        probe.try_at(inputs, order, axis)
        return alike(*probe.at_zero)


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
        self.try_at(inputs, order, axis)
        finding = Finding(self.cut.learned, alike(*self.at_zero))
        if not finding.whole:
            self._blame(finding, order)
        return finding

    def try_at(self, inputs: Inputs, order: Tensor, axis: int) -> None:
        """Put partners at the site: :attr:`at_zero` are logits that should be alike."""
        moved = inputs.reordered(order, axis)
        own, partners = self._reach(inputs), self._reach(moved)
        self._learn((own, inputs), (partners, moved), order)
        self.both = (own, inputs), (partners, moved)
        passes = self._pair(self.cut)
        if len(passes[0].united) > 1:
            self.cut.learned.aside = self._aside(passes[0])
            passes = self._pair(self.cut)
        self.at_zero = self._at_zero(*passes)

    def _plain(self, inputs: Inputs) -> Tensor:
        set_random_state(self.state)
        return logits_of(self.call(*inputs.args, **inputs.kwargs), self.logits)

    def _reach(self, inputs: Inputs) -> Arrival:
        set_random_state(self.state)
        return self.cut.reach(self.call, inputs)

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

    def _learn(self, own: Run, moved: Run, order: Tensor) -> None:
        """Find what at the site, and of what came before, holds texts, masks or neither."""
        shorter, texts = own[0], moved[0]
        if masks := own[1].masks:
            shorter = self._reach(
                _saying(own[1], {p: _shortened(m.present) for p, m in masks.items()})
            )
            texts = self._reach(_saying(moved[1], {p: m.present for p, m in masks.items()}))
        learned, runs = self.cut.learned, (own[0], moved[0], shorter, texts)
        contents = [leaves(run.content) for run in runs]
        learned.axes, learned.leaves = {}, len(contents[0])
        for i, (x, y, short, text) in enumerate(zip(*contents, strict=False)):
            if isinstance(x, Tensor) and alike(x, text):
                learned.site_made |= set() if alike(x, short) else {i}
            elif isinstance(x, Tensor) and x.is_floating_point():
                learned.axes[i] = self._axis_of(x, y, order)
        if not learned.axes:
            for x in contents[0]:
                if isinstance(x, Tensor) and x.is_floating_point():
                    raise AmpmixError(no_axis(self.cut.site, x, len(order), self.cut.batch_dim))
        before = [run.memory.recorded() for run in (own[0], shorter, texts)]
        for one, short, text in zip(*before, strict=False):
            parts = [leaves(x.value) for x in (one, short, text)]
            made = {
                i
                for i, (x, y, z) in enumerate(zip(*parts, strict=False))
                if isinstance(x, Tensor) and alike(x, z) and not alike(x, y)
            }
            if made:
                learned.made[one.at] = made

    def _axis_of(self, x: Tensor, moved: Tensor, order: Tensor) -> int:
        """The axis of hidden states along which they follow the examples."""
        given = self.cut.batch_dim
        tried = range(x.dim()) if given is None else [given]
        for axis in tried:
            at = batch_axis(x, len(order), axis)
            if at is not None and alike(x.index_select(at, order.to(x.device)), moved):
                return at
        raise AmpmixError(no_axis(self.cut.site, x, len(order), given))

    def _pair(self, cut: Cut) -> tuple[Passes, Passes]:
        """The passes of the examples and of their partners."""
        names = cut.masks, cut.padding_masks
        first, second = (
            Passes(cut, arrival, self.call, Inputs(*names, x.model, x.args, x.kwargs, x.batch))
            for arrival, x in self.both
        )
        return first, second

    def _at_zero(self, own: Passes, partner: Passes) -> tuple[Tensor, Tensor]:
        """Logits of the examples with their partners at the site, and of these themselves."""
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
        other = [
            torch.cat((x[:, :1], x.roll(1, 0)[:, 1:]), 1) if x.dim() > 2 else x for x in hidden
        ]

        def change(masks: Sequence[Tensor]) -> float:
            return float(
                (self._f(passes, *hidden, *masks) - self._f(passes, *other, *masks)).norm()
            )

        everywhere, aside = change(present), set()
        for i, path in enumerate(passes.united):
            first = _first(present[i])
            hiding = change([*present[:i], first, *present[i + 1 :]])
            if path[-1] in (*MASKS, *PADDING_MASKS) and hiding > 0.9 * everywhere > 0:
                aside.add(path)
        return aside

    def _blame(self, finding: Finding, order: Tensor) -> None:
        """Name the inputs that reach the logits around the site."""
        own, partner = self._pair(self.cut)
        swapped, moved = self.at_zero[0], partner.inputs.tensors
        tokens = any(x.dim() > 2 for x in own.g[: own.hidden])
        for path, x in own.inputs.tensors.items():
            if path in own.united or torch.equal(x, moved[path]):
                continue
            one = copy.copy(own)
            one.inputs = own.inputs.new(_replacing(path, moved[path]))
            if self._unchanged(one, partner, swapped):
                continue
            name = ".".join(path)
            is_mask = tokens and self._is_mask(x, name)
            (finding.masks if is_mask else finding.around).append(name)

    def _unchanged(self, one: Passes, partner: Passes, expected: Tensor) -> bool:
        """Return True if an example with another input has the logits that are expected."""
        try:
            return alike(self._at_zero(one, partner)[0], expected)
        except Exception:  # inputs that do not fit together, such as ids with two ends
            return False

    def _is_mask(self, x: Tensor, name: str) -> bool:
        """Return True if nothing of an input but where it has tokens goes around the site."""
        if x.is_floating_point() or x.dim() < 2:
            return False
        if bool((x > 1).any()) and not bool((x == padding_id(self.both[0][1].model)).any()):
            return False
        cut = replace(self.cut, masks=(*self.cut.masks, name))
        try:
            return alike(*self._at_zero(*self._pair(cut)))
        except Exception:
            return False


def _replacing(path: Path, value: Tensor) -> Callable[[Path, Any], Any]:
    return lambda at, leaf: value if at == path else leaf


@contextmanager
@uncompiled
def quiet(model: nn.Module) -> Iterator[Any]:
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
    a, b = a.detach(), b.detach()
    eps = unit_of([a.dtype], a.device)
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
