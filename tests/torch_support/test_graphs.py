"""Recorded steps against computed ones, on an emulation of what a GPU does with a recording.

The emulation notes every operation, its arguments and where its results lie, as a CUDA graph does,
and nothing of what Python does between them. So a number that Python would change from step to step
(a step size, a count) stands still in a replay, and what reads memory that was given back is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_replicas import CONFIG, SEEDS, SPLITS, assert_equal
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from ampmix._support.components import spec
from ampmix._torch.cuda_graphs import MOST, WARM, Recorded
from ampmix._torch.random_state import random_state, with_random_state
from ampmix.backbones.bilstm_attention import BiLSTMAttention
from ampmix.backbones.encoder import Encoder
from ampmix.backbones.text_cnn import TextCNN
from ampmix.policies.amp import AMP
from ampmix.policies.mixup import Mixup
from ampmix.policies.none import NoMixup
from ampmix.training.config import TrainConfig
from ampmix.training.optimizer import optimizer_of, set_lr
from ampmix.training.stack import Stack
from ampmix.training.training_run import Fit, TrainingRun
from tiny_encoders import TINY

CNN = TextCNN(embedding_dim=8, filter_sizes=(1, 3), feature_maps=4)
LSTM = BiLSTMAttention(embedding_dim=6, hidden_size=8)
BERT = Encoder(model=TINY, dropout=0.2)
BRIEF = replace(CONFIG, steps=60, eval_every=10, schedule="linear", warmup=0.1)


class Emulation(TorchDispatchMode):
    """Notes the operations of some work, without effect; replays them in the same memory."""

    def __init__(self, generators: Sequence[torch.Generator], state: Any) -> None:
        super().__init__()
        self._generators, self._state = generators, state
        self.recorded = 0
        self._notes: list[tuple[Any, Any, Any, Any]] = []

    def __call__(self, work: Any) -> Any:
        self._notes, self.recorded = [], self.recorded + 1
        tensors = [t for t in tree_iter(self._state()) if isinstance(t, Tensor)]
        before = [t.detach().clone() for t in tensors]
        drawn = [g.get_state() for g in self._generators]
        with self:
            work()
        for tensor, own in zip(tensors, before, strict=True):
            tensor.detach().copy_(own)  # a recording has done nothing yet
        for generator, own in zip(self._generators, drawn, strict=True):
            generator.set_state(own)
        notes = self._notes

        @torch.no_grad()
        def replay() -> None:
            for function, args, kwargs, results in notes:
                new = function(*args, **kwargs)
                tree_map(_put, results, new)

        return replay

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        self._notes.append(tree_map(_place, (func, args, kwargs or {}, results)))
        return results


def _place(x: Any) -> Any:
    """The memory of a tensor without its history."""
    return x.detach() if isinstance(x, Tensor) else x


def _put(old: Any, new: Any) -> None:
    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
        old.copy_(new)


def stack_of(backbone: Any, policy: Any, config: TrainConfig, emulated: bool) -> Any:
    cpu = torch.device("cpu")
    runs = [
        TrainingRun(backbone, policy, part, config, seed, cpu)
        for part, seed in zip(SPLITS, SEEDS, strict=True)
    ]
    made: list[Emulation] = []
    stack: Stack

    def recorder(generators: Sequence[torch.Generator]) -> Emulation:
        state = lambda: (stack.weights, dict(stack._optimizer.state))  # noqa: E731
        made.append(Emulation(generators, state))
        return made[-1]

    stack = Stack(runs, policy, config, cpu, recorder if emulated else None)
    return stack, made


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU's device type decides."""
    monkeypatch.setattr("ampmix.policies.amp.decides_on_device", lambda lam: lam.dim() > 1)
    monkeypatch.setattr(
        "ampmix.training.stack.optimizer_of",
        lambda parameters, config, _recorded=False: optimizer_of(parameters, config, True),
    )


POLICIES = [NoMixup(), Mixup(), AMP(), AMP(site="sent", eps=0.1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "policy"),
    [*((CNN, policy) for policy in POLICIES), (LSTM, AMP()), (BERT, AMP()),
     (BERT, AMP(site="layer.1", eps=0.1, shared_dropout=False))],
    ids=lambda x: spec(x)[:24],
    indirect=["backbone"],
)  # fmt: skip
def test_replayed_steps_are_computed_steps(backbone: Any, policy: Any) -> None:
    fits: list[list[Fit]] = []
    for emulated in (True, False):
        stack, made = stack_of(backbone, policy, BRIEF, emulated)
        fits.append(stack.train(lambda _index, _step: None))
        assert sum(one.recorded for one in made) > 3 if emulated else not made
    for recorded, computed in zip(*fits, strict=True):
        assert_equal(recorded, computed, 0.0)


def test_whoever_leaves_the_stack_others_go_on_replayed() -> None:
    config = replace(BRIEF, steps=90, eval_every=3, patience=2, selection="best_dev")
    fits = []
    for emulated in (True, False):
        stack, _ = stack_of(CNN, AMP(), config, emulated)
        fits.append(stack.train(lambda _index, _step: None))
    assert len({one.stopped for one in fits[0]}) > 1
    for recorded, computed in zip(*fits, strict=True):
        assert_equal(recorded, computed, 0.0)


def test_the_step_size_lies_where_a_replay_finds_it() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    config = TrainConfig(steps=10, schedule="linear", lr=0.5)
    optimizer = optimizer_of([weight], config, recorded=True)
    place = optimizer.param_groups[0]["lr"]
    set_lr(optimizer, config, 5)
    assert optimizer.param_groups[0]["lr"] is place
    assert place.item() == 0.25


def test_a_recording_is_not_asked_for_its_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnAGpu:
        is_cuda = True

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert random_state(OnAGpu()) is None  # type: ignore[arg-type]
    with with_random_state(None):
        pass


@pytest.mark.parametrize("backbone", [CNN, LSTM, BERT], ids=lambda x: x.name, indirect=True)
def test_what_is_recorded_draws_from_its_own_generators_alone(backbone: Any) -> None:
    """Else a replay without a random state would draw other dropout masks in its second pass."""
    stack, _ = stack_of(backbone, AMP(), BRIEF, False)
    before = torch.get_rng_state()
    for done, batch in enumerate(stack.batches.upcoming(3)):
        stack.step(batch, done)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_recorded_is_computed_and_that_is_said_once() -> None:
    def record(work: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    step = Recorded(lambda kind, x: (x + 1,), record)
    with pytest.warns(UserWarning, match="not recorded as CUDA graphs") as told:
        found = [step("kind", torch.full((2,), float(i)))[0][0].item() for i in range(9)]
    assert found == [i + 1.0 for i in range(9)] and len(told) == 1


def test_kinds_are_recorded_once_each_and_not_without_end() -> None:
    recorded = []

    def record(work: Any) -> Any:
        recorded.append(work)
        return work

    step = Recorded(lambda kind, x: (x * kind,), record)
    results = []
    for _ in range(WARM):
        for kind in range(MOST + 9):
            results.append((kind, step(kind, torch.ones(2))))
    assert len(recorded) == MOST
    assert all(one.tolist() == [kind] * 2 for kind, (one,) in results)  # nobody wrote into them
