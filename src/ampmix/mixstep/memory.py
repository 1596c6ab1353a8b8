"""Outputs of modules on the way to the site, which later passes are answered from."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.random_state import (
    random_state,
    same_random_state,
    set_random_state,
    with_random_state,
)
from ampmix._torch.trees import leaves, mapped, rebuilt
from ampmix.mixstep.model_parts import statistics_kept
from ampmix.mixstep.places import Learned


@uncompiled
def copied(things: Any) -> Any:
    """The containers, with copies of the tensors: who changes those in place changes no others."""
    return mapped(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, things)


@dataclass(eq=False)
class Recorded:
    """The output of a module.

    Attributes:
        value: its output, before anybody could change it in place.
        at: the path of the module, and the number of the call.
        state: the random states afterwards, None if nothing is drawn between modules.
    """

    value: Any
    at: tuple[str, int]
    state: Any


@uncompiled
class Memory:
    """The outputs of modules on the way to the site, in the order of their calls.

    Args:
        learned: what is known of the model.
        paths: of its modules.
    """

    def __init__(self, learned: Learned, paths: Mapping[nn.Module, str]) -> None:
        self.outputs: dict[nn.Module, deque[Recorded]] = defaultdict(deque)
        self.learned, self.paths = learned, paths
        self.drew = False
        self._like = next((p for module in paths for p in module.parameters()), Tensor())
        self._start = self._last = self.state()

    def state(self) -> Any:
        """The random states now, None if nobody needs to know."""
        return None if self.learned.draws is False else random_state(self._like)

    def entered(self) -> None:
        """Note that a module is called, or the site is reached."""
        if self._last is not None and not self.drew:
            self.drew = not same_random_state(self._last, random_state(self._like))

    def keep(self, module: nn.Module, output: Any) -> None:
        """Remember what a module gave."""
        found = self.outputs[module]
        self._last = self.state()
        found.append(Recorded(copied(output), (self.paths[module], len(found)), self._last))

    def recorded(self) -> list[Recorded]:
        """All that modules gave."""
        return [one for found in self.outputs.values() for one in found]

    def replay(self) -> Replay:
        """Answers for one more pass."""
        return Replay(self)


@uncompiled
class Replay:
    """Answers of modules in one pass, as if they had run.

    Statements between the modules run again, and must draw what they drew in the first pass: so
    each answer also puts the random states to where the module left them. From the site on, the
    pass draws from the states that it was begun with.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.left = {module: deque(found) for module, found in memory.outputs.items()}
        self.states = memory.learned.draws is not False and memory._start is not None
        self._own = memory.state() if self.states else None
        if self.states:
            set_random_state(memory._start)

    def answer(self, module: nn.Module, again: Callable[[], Any]) -> Any:
        """Return what a module gave; `again` calls it, for what is made of masks."""
        recorded = self.left[module].popleft()
        found = copied(recorded.value)
        if made := self.memory.learned.made.get(recorded.at):
            found = self.made_again(module, again, found, made)
        if self.states:
            set_random_state(recorded.state)
        return found

    def made_again(
        self, module: nn.Module, again: Callable[[], Any], found: Any, made: set[int]
    ) -> Any:
        """`found`, with the leaves that are made of masks as they are in this pass."""
        with with_random_state(random_state(self.memory._like)), statistics_kept(module):
            new = leaves(again())
        old = leaves(found)
        if len(new) != len(old):
            return found
        return rebuilt([new[i] if i in made else leaf for i, leaf in enumerate(old)], found)

    def arrived(self) -> None:
        """Draw on, from the site, from the states that the pass was begun with."""
        if self.states:
            set_random_state(self._own)
            self.states = False
