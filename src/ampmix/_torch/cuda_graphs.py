"""Record training steps as CUDA graphs and replay them: one launch in place of hundreds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Work = Callable[[], None]
Recorder = Callable[[Work], Work]
"""Function that captures the kernels launched by some work, and returns their replay."""
Function = Callable[..., tuple[Tensor, ...]]

WARM = 3
"""Calls before anything is recorded: libraries choose and load their kernels in the first ones."""
MOST = 64
"""Kinds of arguments that are recorded; others are computed as they come."""


class CudaGraphs:
    """A :data:`Recorder` of CUDA graphs, which share one pool of memory.

    That is safe because nothing in it outlives a replay: results are copied out after each.

    Args:
        device: the GPU.
        generators: whose draws are part of the work; replayed, they go on as if drawn one by one.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self._generators = tuple(generators)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Record; RuntimeError if the work waits for the device, or cannot be recorded else."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        replay: Work = graph.replay
        return replay


class _Recording(NamedTuple):
    """A replay, with the tensors that it reads as arguments and writes as results."""

    replay: Work
    arguments: tuple[Tensor, ...]
    results: list[Tensor]


class Recorded:
    """A function whose work on a device is recorded for each kind of arguments, then replayed.

    A step of a small model is a few hundred kernels, and each costs the program more time than the
    GPU: replayed, all of them are one call. The function must do the same work whenever its
    arguments are of one kind, must not wait for the device, and reads only its arguments and what
    stays where it is (weights, the optimiser's state). The first call of a kind is computed as it
    is; the second is recorded. Where recording fails, that is said once, and nothing is replayed.

    Args:
        function: ``function(kind, *arguments)``, a tuple of tensors.
        record: by what; None to compute every call as it comes.

    >>> total = torch.zeros(2)
    >>> def add(kind, x):
    ...     return (total.add_(x).clone(),)
    >>> step = Recorded(add, record=None)
    >>> [step("one kind", torch.ones(2))[0].tolist() for _ in range(2)]
    [[1.0, 1.0], [2.0, 2.0]]
    """

    def __init__(self, function: Function, record: Recorder | None) -> None:
        self._function, self._record = function, record
        self._calls = 0
        self._seen: set[Hashable] = set()
        self._recordings: dict[Hashable, _Recording] = {}

    def __call__(self, kind: Hashable, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Call the function; the tensors returned are copies, which later calls do not change."""
        self._calls += 1
        shapes = tuple((argument.shape, argument.dtype) for argument in arguments)
        key = (kind, shapes)
        recording = self._recordings.get(key) or self._recorded(key, arguments)
        self._seen.add(key)
        if recording is None:
            return self._function(kind, *arguments)
        for own, given in zip(recording.arguments, arguments, strict=True):
            own.copy_(given, non_blocking=True)
        recording.replay()
        return tuple(result.clone() for result in recording.results)

    def _recorded(
        self, key: tuple[Hashable, Hashable], arguments: Sequence[Tensor]
    ) -> _Recording | None:
        """A recording for arguments of a kind that came before; None where there is to be none."""
        if self._record is None or key not in self._seen or self._calls <= WARM:
            return None
        if len(self._recordings) >= MOST:
            return None
        own, results = tuple(argument.clone() for argument in arguments), list[Tensor]()

        def work() -> None:
            results[:] = self._function(key[0], *own)

        try:
            replay = self._record(work)
        except (RuntimeError, AttributeError) as error:  # earlier PyTorch lacks what is needed
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"steps are not recorded as CUDA graphs ({reason}): they are as correct as with "
                "them, but slower",
                stacklevel=2,
            )
            self._record = None
            return None
        self._recordings[key] = recording = _Recording(replay, own, results)
        return recording
