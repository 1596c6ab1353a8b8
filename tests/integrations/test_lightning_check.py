"""MixupCallback's check of the first batch: what it sees, and that it leaves no trace."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ampmix import AMP, AmpmixError, Mixed, Mixup, NoMixup

pl = pytest.importorskip("pytorch_lightning")

from ampmix.integrations.lightning import MixupCallback  # noqa: E402

WEIGHT = torch.tensor([1.0, 9.0])


def batches(n: int = 3) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(n):
        lengths = torch.randint(3, 8, (16, 1), generator=generator)
        mask = (torch.arange(8) < lengths).long()
        ids = torch.randint(1, 50, mask.shape, generator=generator) * mask
        y = (torch.rand(16, generator=generator) < 0.2).long()
        rows.append({"ids": ids, "mask": mask, "labels": y})
    return DataLoader(rows, batch_size=None)  # type: ignore[arg-type]


class Net(nn.Module):
    """Fresh, as transformers' classifiers are: the head so small that every loss is ln 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 2)
        nn.init.normal_(self.head.weight, std=0.002)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = mask.unsqueeze(-1).to(self.embed.weight.dtype)
        return self.head((self.embed(ids) * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


class Module(pl.LightningModule):  # type: ignore[misc]
    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.net, self.kind = Net(), kind
        if kind == "its own":
            self.criterion = nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2)
        self.outputs: list[Tensor] = []
        self.seen: dict[str, list[int]] = {"rows": []}
        self.steps = 0
        self.register_buffer("count", torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        mask = torch.ones_like(batch["mask"]) if self.kind == "no mask" else batch["mask"]
        logits, y = self.net(batch["ids"], mask), batch["labels"]
        self.outputs.append(logits.detach())
        self.seen["rows"].append(len(y))
        self.steps += 1
        self.count += 1
        self.last = logits
        if self.kind == "its own":
            return self.criterion(logits, y)  # type: ignore[no-any-return]
        return F.cross_entropy(
            logits / (5 if self.kind == "temperature" else 1),
            y,
            weight=WEIGHT if self.kind == "class weights" else None,
            label_smoothing=0.01 if self.kind == "smoothing" else 0.0,
        )

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(*callbacks: Any, **options: Any) -> Any:
    names = ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"]
    quiet = dict.fromkeys(names, False)
    options = {"max_epochs": 1, "accelerator": "cpu", **quiet, **options}
    return pl.Trainer(callbacks=list(callbacks), **options)


def callback(**options: Any) -> MixupCallback:
    return MixupCallback(options.pop("policy", Mixup()), "embed", model="net", **options)


@pytest.mark.parametrize("kind", ["class weights", "smoothing", "temperature", "no mask"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_that_starts_alike_is_told_by_its_gradients(kind: str, precision: str) -> None:
    if precision != "32-true" and kind == "smoothing":
        return  # one hundredth is less than bfloat16 tells
    with pytest.raises(AmpmixError, match=r"gives 0\.69.*gradients differ by .*loss="):
        trainer(callback(), precision=precision).fit(Module(kind), batches())


def test_what_is_the_same_trains() -> None:
    for own, more in (
        (callback(), {}),
        (callback(policy=AMP(eps=0.1)), {"precision": "bf16-mixed"}),
    ):
        module = Module()
        before = [parameter.detach().clone() for parameter in module.parameters()]
        trainer(own, **more).fit(module, batches())
        moved = zip(before, module.parameters(), strict=True)
        assert all(not torch.equal(old, new) for old, new in moved)


def test_exactly_the_weighted_loss_is_taken() -> None:
    """training_step divides by the weights of the batch, the callback by its examples."""
    loss = nn.CrossEntropyLoss(weight=WEIGHT, reduction="none")
    trainer(callback(loss=loss)).fit(Module("class weights"), batches())


@pytest.mark.parametrize("kind", ["smoothing", "temperature", "no mask"])
def test_a_wrong_loss_is_refused_though_it_is_given(kind: str) -> None:
    loss = nn.CrossEntropyLoss(weight=WEIGHT, reduction="none")
    with pytest.raises(AmpmixError, match="training_step gives"):
        trainer(callback(loss=loss)).fit(Module(kind), batches())


def test_the_modules_own_loss_is_used() -> None:
    seen: list[Mixed] = []
    module = Module("its own")
    trainer(callback(on_mixed=seen.append), limit_train_batches=1).fit(module, batches())
    batch, net = next(iter(batches())), Net()
    lam, perm, y = seen[-1].lam[:, None, None], seen[-1].perm, batch["labels"]
    x, mask = net.embed(batch["ids"]), batch["mask"] | batch["mask"][seen[-1].perm]
    kept = mask.unsqueeze(-1).float()
    logits = net.head(((lam * x + (1 - lam) * x[perm]) * kept).sum(1) / kept.sum(1))
    loss = nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2, reduction="none")
    expected = seen[-1].lam * loss(logits, y) + (1 - seen[-1].lam) * loss(logits, y[perm])
    torch.testing.assert_close(seen[-1].loss, expected)


def test_the_check_leaves_no_trace_in_the_module() -> None:
    module = Module()
    outputs = module.outputs
    trainer(callback(policy=NoMixup())).fit(module, batches())
    assert module.outputs is outputs
    assert outputs == []
    assert module.seen == {"rows": []}
    assert module.steps == 0
    assert float(module.count) == 0
    assert not hasattr(module, "last")


def test_the_epoch_that_updates_averaged_statistics_does_not_mix() -> None:
    class Normed(Module):
        def __init__(self) -> None:
            super().__init__()
            self.net.head = nn.Sequential(nn.BatchNorm1d(8), self.net.head)  # type: ignore[assignment]

    seen: list[Mixed] = []
    module = Normed()
    swa = pl.callbacks.StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1)
    trainer(callback(on_mixed=seen.append), swa, max_epochs=3).fit(module, batches())
    assert len(seen) == 3 * 3  # as many as without the epoch more
    assert module.steps == 3


@pytest.mark.parametrize("names", [False, True])
def test_batches_of_several_loaders_are_taken_apart_by_unpack(names: bool) -> None:
    loaders: Any = {"a": batches(), "b": batches()} if names else [batches(), batches()]
    combined = pl.utilities.CombinedLoader(loaders, "max_size_cycle")

    class OfTwo(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch["a"] if names else batch[0], batch_idx)

    def unpack(batch: Any) -> Any:
        one = batch["a"] if names else batch[0]
        return {"ids": one["ids"], "mask": one["mask"]}, one["labels"]

    with pytest.raises(AmpmixError, match="give unpack=FUNCTION"):
        trainer(callback()).fit(OfTwo(), combined)
    seen: list[Mixed] = []
    trainer(callback(unpack=unpack, on_mixed=seen.append)).fit(OfTwo(), combined)
    assert len(seen) == 3


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
