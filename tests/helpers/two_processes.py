"""Two processes that train together on the CPU, each on its half of every batch.

``start(folder)`` runs this file twice; each process goes through :data:`CASES` and writes what its
gradients were. What they should have been, :func:`alone` computes in one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import forked
from ampmix import AMP, MixStep, Mixup, NoMixup
from ampmix.policies import mixup
from ampmix.policies.base import Policy

B, TOKENS, WORDS, CLASSES, STEPS = 8, 6, 30, 3, 3
PARTNERS = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])  # within halves and within quarters


def bert(dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=16,
        num_labels=CLASSES,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.5,  # so that lam can overshoot
        attn_implementation="eager",
    )
    return transformers.BertForSequenceClassification(config).to(dtype).train()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.linear(x)))


class Plain(nn.Module):
    """BatchNorm before, at and behind the middle; `spare` is in no forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(WORDS, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return Plain().double().train()


def spare() -> nn.Module:
    model = plain()
    model.spare = nn.Linear(2, 2).double()
    return model


MODELS = {"bert": bert, "plain": plain, "spare": spare}


def batch(seed: int, tokens: int = TOKENS, examples: int = B) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, tokens + 1, (examples, 1), generator=generator)
    mask = torch.arange(tokens) < lengths
    ids = torch.randint(1, WORDS, mask.shape, generator=generator) * mask
    labels = torch.randint(CLASSES, (examples,), generator=generator)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def coefficients(seed: int, examples: int = B) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.rand(examples, generator=generator, dtype=torch.float64)


@contextmanager
def drawn(lam: Tensor, perm: Tensor) -> Iterator[None]:
    """In the meantime RandOp draws these."""
    before = mixup.rand_op
    mixup.rand_op = lambda *_: (lam, perm)  # type: ignore[assignment]
    try:
        yield
    finally:
        mixup.rand_op = before


def rows(examples: slice, seed: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Those examples of a batch, their lam and their partners among themselves."""
    part = {name: value[examples] for name, value in batch(seed).items()}
    return part, coefficients(seed)[examples], PARTNERS[examples] - (examples.start or 0)


@dataclass(frozen=True)
class Case:
    """A way to run a step on two processes."""

    wrap: str  # ddp | step | model | attached: what is in DDP, or given to fully_shard
    model: str
    policy: Policy
    site: str
    static: bool = False
    unused: bool = False
    parts: int = 1  # of a batch, accumulated
    other: Policy | None = None  # that of the second process

    def __str__(self) -> str:
        flags = "".join(f",{name}" for name in ("static", "unused") if getattr(self, name))
        policy = f"{self.policy.name}{'' if self.other is None else '|' + self.other.name}"
        return f"{self.wrap}{flags},{self.model},{policy},{self.site},{self.parts}"

    def policy_of(self, rank: int) -> Policy:
        return self.policy if self.other is None or rank == 0 else self.other

    def step(self, rank: int = 0) -> MixStep:
        return MixStep(MODELS[self.model](), self.policy_of(rank), self.site)


POLICIES: tuple[Policy, ...] = (NoMixup(), Mixup(), AMP(eps=0.5))
PLACES = [("bert", site) for site in ("word", "bert.encoder.layer.0", "sent")]
PLACES += [("plain", "blocks.1")]
DDP = [
    Case("ddp", model, policy, site, static, unused)
    for model, site in PLACES
    for policy in POLICIES
    for static in (False, True)
    for unused in (False, True)
    if policy.name == "amp" or not unused
]
ACCUMULATED = [
    Case("ddp", "bert", policy, "bert.encoder.layer.0", static, parts=2)
    for policy in POLICIES
    for static in (False, True)
]
SPARE = [Case("ddp", "spare", policy, "blocks.1", unused=True) for policy in POLICIES]
FSDP = [
    Case(wrap, "bert", policy, site)
    for wrap in ("step", "model", "attached")
    for _, site in PLACES[:3]
    for policy in POLICIES
    if policy.name == "amp" or (wrap == "step" and site == "word")
]
FSDP += [Case("step", "bert", policy, "word", parts=2) for policy in POLICIES[1:]]
# the first process needs three passes, where lam overshoots, the second two
UNEQUAL = [
    Case(wrap, "bert", AMP(eps=2.0, direction="sign"), "word", other=AMP(eps=0.0))
    for wrap in ("step", "model")
]
# part of what the sharded layer is given goes around the site
INSIDE = [
    Case("model", "bert", policy, "bert.encoder.layer.0.attention.self") for policy in POLICIES
]
CASES = {str(case): case for case in [*DDP, *ACCUMULATED, *SPARE, *FSDP, *UNEQUAL, *INSIDE]}


def passes_counted(model: nn.Module) -> list[int]:
    """Its one number grows with each forward pass of the last layer in training."""
    count = [0]

    def add(module: nn.Module, *_: Any) -> None:
        count[0] += module.training  # what is tried first is in evaluation mode

    last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    (model.head if isinstance(model, Plain) else last[-1]).register_forward_hook(add)
    return count


def train(case: Case, step: MixStep, call: Any, shares: list[slice], whole: int) -> dict[str, Any]:
    """A few steps of gradient descent on these shares of each batch; the gradients of each.

    Args:
        whole: how many examples the loss is to be the mean of.
    """
    passes = passes_counted(step.model)
    optimizer = torch.optim.SGD(step.parameters(), lr=0.1)
    gradients = []
    for seed in range(STEPS):
        optimizer.zero_grad()
        for share in shares:
            part, lam, perm = rows(share, seed)
            # a static graph is learned in the first backward pass, which PyTorch wants synchronised
            last = share is shares[-1] or (case.static and seed == 0)
            with quiet(call, last), drawn(lam, perm):
                (call(**part).loss * len(lam) / whole).backward()
        gradients.append([gathered(p.grad) for p in step.parameters()])
        optimizer.step()
    buffers = [b.clone() for b in step.buffers()]
    return {"gradients": gradients, "buffers": buffers, "passes": passes[0]}


def quiet(call: Any, last: bool) -> Any:
    """No communication until the last part of a batch."""
    if isinstance(call, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else call.no_sync()
    if hasattr(call, "set_requires_gradient_sync"):
        call.set_requires_gradient_sync(last)
    return nullcontext()


def gathered(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
    return whole.detach().clone()


def halves(parts: int, rank: int) -> list[slice]:
    size = B // 2 // parts
    return [slice(rank * B // 2 + i * size, rank * B // 2 + (i + 1) * size) for i in range(parts)]


def together(case: Case, rank: int) -> dict[str, Any]:
    """What this process of two gets."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    step = case.step(rank)
    shares, whole = halves(case.parts, rank), B // 2
    if case.wrap == "ddp":
        wrapped = nn.parallel.DistributedDataParallel(
            step, static_graph=case.static, find_unused_parameters=case.unused
        )
        return train(case, step, wrapped, shares, whole)
    mesh = init_device_mesh("cpu", (2,))
    for layer in step.model.bert.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(step if case.wrap == "step" else step.model, mesh=mesh)
    with step.attached() if case.wrap == "attached" else nullcontext():
        call = step.model if case.wrap == "attached" else step
        found = train(case, step, call, shares, whole)
        return {**found, **saved(step)} if case.site == "word" else found


def saved(step: MixStep) -> dict[str, Any]:
    """What a checkpoint of shards holds, put together, and whether it can be read again."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        set_model_state_dict,
    )

    options = StateDictOptions(full_state_dict=True)
    state = {name: x.clone() for name, x in get_model_state_dict(step, options=options).items()}
    set_model_state_dict(step, {name: x + 1 for name, x in state.items()}, options=options)
    again = get_model_state_dict(step, options=options)
    return {
        "state": state,
        "read": all(torch.equal(again[name], state[name] + 1) for name in state),
    }


def alone(case: Case) -> dict[str, Any]:
    """The same on the joined batch; if a half's statistics or policy count, on each half."""
    return _alone(replace(case, wrap="", static=False, unused=False, parts=1))


@cache
def _alone(case: Case) -> dict[str, Any]:
    if case.model == "bert" and case.other is None:
        step = case.step()
        return {**train(case, step, step, [slice(0, B)], B), "state": step.state_dict()}
    steps = [case.step(rank) for rank in range(2)]
    passes = [passes_counted(step.model) for step in steps]
    gradients = []
    for seed in range(STEPS):
        for rank, step in enumerate(steps):
            step.zero_grad()
            part, lam, perm = rows(halves(1, rank)[0], seed)
            with drawn(lam, perm):
                step(**part).loss.backward()
        mean = [
            None if a.grad is None else (a.grad + b.grad) / 2
            for a, b in zip(*(step.parameters() for step in steps), strict=True)
        ]
        gradients.append(mean)
        for step in steps:
            for parameter, gradient in zip(step.parameters(), mean, strict=True):
                parameter.grad = None if gradient is None else gradient.clone()
            torch.optim.SGD(step.parameters(), lr=0.1).step()
    result = {"gradients": gradients, "passes": [count[0] for count in passes]}
    return {**result, "buffers": list(steps[0].buffers()), "state": steps[0].state_dict()}


def start(folder: Path) -> list[dict[str, dict[str, Any]]]:
    """What both processes get in all cases."""
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    command = [sys.executable, __file__, str(folder)]
    running = [
        forked.Popen(
            [*command, str(rank)],
            imports=["transformers.models.bert.modeling_bert", "torch.distributed.fsdp"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def main(folder: str, rank: int) -> None:
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    results: dict[str, dict[str, Any]] = {}
    for name, case in CASES.items():
        began = time.perf_counter()
        try:
            results[name] = together(case, rank)
        except Exception:
            results[name] = {"error": traceback.format_exc()}
        results[name]["seconds"] = time.perf_counter() - began
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
