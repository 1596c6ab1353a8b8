"""A LightningModule trained by a callback: against plain Lightning, plain loops and arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import forked
from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup, NoMixup, Policy
from ampmix._support.components import find, spec

pl = pytest.importorskip("pytorch_lightning")

from ampmix.integrations.lightning import MixupCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def examples(n: int = 48) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 6, generator=generator)
    return TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long())


def loader(n: int = 48, batch: int = 8) -> DataLoader[Any]:
    return DataLoader(examples(n), batch_size=batch)


class Module(pl.LightningModule):  # type: ignore[misc]
    """What people have."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3)
        )
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("own_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.check(batch[0])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.check(batch[0])

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.check(batch[0])

    def check(self, x: Tensor) -> Tensor:
        """The logits, after comparing them with arithmetic by hand."""
        first, norm, last = self.net[0], self.net[1], self.net[4]
        h = x @ first.weight.T + first.bias
        h = (h - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        h = (h * norm.weight + norm.bias).clamp(min=0)
        logits = self(x)
        assert not self.training
        assert torch.allclose(logits, h @ last.weight.T + last.bias, atol=1e-5)
        self.seen.append(logits)
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def trainer(*callbacks: Any, **options: Any) -> Any:
    quiet = dict.fromkeys(
        ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
    )
    return pl.Trainer(**{"accelerator": "cpu", **quiet, "callbacks": [*callbacks], **options})


def module(dropout: float = 0.0, kind: type = Module) -> Any:
    torch.manual_seed(3)
    return kind(dropout)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor], **close: float) -> None:
    assert list(a) == list(b)
    for name in a:
        if close:
            assert torch.allclose(a[name], b[name], **close), name
        else:
            assert torch.equal(a[name], b[name]), name


def changed(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return any(not torch.equal(a[name], b[name]) for name in a)


class Draws:
    """on_mixed that keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[Mixed] = []

    def __call__(self, mixed: Mixed) -> None:
        self.all.append(mixed)

    @property
    def lam(self) -> list[list[float]]:
        return [mixed.lam.tolist() for mixed in self.all]


# ----------------------------------------------------------------------------- what trains


@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}], ids=str
)
def test_no_mixup_is_plain_lightning_to_the_bit(options: dict[str, Any]) -> None:
    found = []
    for callbacks in ([], [MixupCallback(NoMixup())], [MixupCallback(NoMixup(), site="net.2")]):
        model = module(dropout=0.5)
        pl.seed_everything(0)
        trainer(*callbacks, max_epochs=2, **options).fit(model, loader(), loader())
        found.append(weights(model))
    same(found[0], found[1])
    same(found[0], found[2])


def by_hand(net: nn.Module, x: Tensor, y: Tensor, mixed: Mixed, adversarial: bool) -> Tensor:
    """The loss of a batch mixed behind the first layer, from lam, lam_adv, mask and pairs."""
    g = net[0](x)

    def losses(lam: Tensor) -> Tensor:
        h = torch.stack(
            [lam[i] * g[i] + (1 - lam[i]) * g[int(j)] for i, j in enumerate(mixed.perm)]
        )
        logits = net[4](net[1](h).relu())
        own = F.cross_entropy(logits, y, reduction="none")
        other = F.cross_entropy(logits, y[mixed.perm], reduction="none")
        return mixed.lam * own + (1 - mixed.lam) * other

    if not adversarial:
        return losses(mixed.lam).mean()
    lam = mixed.lam.clone().requires_grad_()
    (slope,) = torch.autograd.grad(losses(lam).sum(), lam, retain_graph=True)
    moved = (mixed.lam + 0.3 * slope.clamp(-1, 1)).clamp(0, 1)
    assert torch.allclose(moved, mixed.lam_adv, atol=1e-5)
    before, after = losses(mixed.lam), losses(moved)
    return torch.where(after > before, after, before).mean()


@pytest.mark.parametrize("policy", [Mixup(), AMP(eps=0.3)], ids=lambda policy: policy.name)
def test_gradients_are_those_of_the_equations(policy: Any) -> None:
    draws, model = Draws(), module()
    found: list[Tensor] = []
    step = MixupCallback(policy, site="net.0", on_mixed=draws)
    watch = Watch(found)
    trainer(step, watch, max_epochs=1, limit_train_batches=1).fit(model, loader())
    net = module().net
    x, y = next(iter(loader()))
    by_hand(net, x, y, draws.all[-1], policy.name == "amp").backward()
    expected = [p.grad for p in net.parameters()]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs is not None
        assert torch.allclose(ours, theirs, atol=1e-6), (ours, theirs)


class Watch(pl.Callback):  # type: ignore[misc]
    """Keeps the gradients of the first step."""

    def __init__(self, kept: list[Tensor]) -> None:
        self.kept = kept

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.kept += [p.grad.clone() for p in pl_module.parameters() if p.grad is not None]


class Replay:
    """A policy's draws, once more: lam and pairs as they were recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, draws: Draws) -> None:
        left = iter(draws.all)

        def rand_op(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            mixed = next(left)
            return mixed.lam, mixed.perm

        monkeypatch.setattr("ampmix.policies.mixup.rand_op", rand_op)


@pytest.mark.parametrize(
    ("options", "bf16", "accumulated", "clip"),
    [
        ({}, False, 1, 0.0),
        ({"precision": "bf16-mixed"}, True, 1, 0.0),
        ({"accumulate_grad_batches": 3, "gradient_clip_val": 0.05}, False, 3, 0.05),
    ],
    ids=["plain", "bf16", "accumulated"],
)
def test_trained_weights_are_those_of_mixstep_in_a_plain_loop(
    options: dict[str, Any],
    bf16: bool,
    accumulated: int,
    clip: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draws, model, policy = Draws(), module(dropout=0.4), AMP(eps=0.1)
    torch.manual_seed(5)
    trainer(MixupCallback(policy, "net.2", on_mixed=draws), max_epochs=1, **options).fit(
        model, loader()
    )

    Replay(monkeypatch, draws)
    plain = module(dropout=0.4).net
    step = MixStep(plain, policy, site="2")
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for i, (x, y) in enumerate(loader(), 1):
        # as Lightning does: with the cache, gradients of two passes are added up in bfloat16
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False):
            loss = step(x, labels=y).loss
        (loss / accumulated).backward()
        if i % accumulated == 0:
            if clip:
                nn.utils.clip_grad_norm_(plain.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    same(weights(model.net), weights(plain), atol=1e-6)


# ------------------------------------------------------------------ what does not change


def test_validation_test_and_prediction_do_not_mix() -> None:
    draws, model = Draws(), module()
    callback = MixupCallback(Mixup(), site="net.0", on_mixed=draws)
    runner = trainer(callback, max_epochs=2, val_check_interval=0.5)
    runner.fit(model, loader(), loader())  # Module.check compares
    assert len(draws.all) == 2 * 6
    runner.validate(model, loader())
    runner.test(model, loader())
    assert len(runner.predict(model, loader())) == 6
    assert len(draws.all) == 2 * 6
    assert len(model.seen) >= 4 * 6 + 3 * 6


def test_a_checkpoint_is_the_modules_own(tmp_path: Path) -> None:
    model = module()
    runner = trainer(MixupCallback(AMP(), site="net.0"), max_epochs=1)
    runner.fit(model, loader())
    runner.save_checkpoint(tmp_path / "it.ckpt")
    assert set(model.state_dict()) == set(module().state_dict())
    loaded = Module.load_from_checkpoint(tmp_path / "it.ckpt")
    same(weights(loaded), weights(model))


class Broken(Module):
    def on_train_batch_end(self, *args: Any) -> None:
        raise RuntimeError("broken")


def test_training_step_is_given_back() -> None:
    model = module()
    trainer(MixupCallback(AMP(), site="net.0"), max_epochs=1).fit(model, loader())
    assert "training_step" not in vars(model)
    before = weights(model)
    trainer(max_epochs=1).fit(model, loader())  # plain, on the module's own
    assert changed(before, weights(model))

    broken = module(kind=Broken)
    with pytest.raises(RuntimeError, match="broken"):
        trainer(MixupCallback(AMP(), site="net.0"), max_epochs=1).fit(broken, loader())
    assert "training_step" not in vars(broken)


def test_policies_leave_dropout_and_the_order_of_data_alone() -> None:
    found = []
    for policy in (NoMixup(), Mixup(), AMP(shared_dropout=True)):
        pl.seed_everything(0)
        model = module(dropout=0.5)
        shuffled = DataLoader(examples(), batch_size=8, shuffle=True)
        trainer(MixupCallback(policy, site="net.0"), max_epochs=2).fit(model, shuffled)
        found.append(torch.rand(4).tolist())
    assert found[0] == found[1] == found[2]


# ------------------------------------------------------------------------------ resuming


def resumed(tmp_path: Path, dropout: float, seed: int) -> tuple[Any, Any, Draws, Draws]:
    """A run of two epochs, and one that is interrupted after the first."""
    whole, parts = Draws(), Draws()

    def callback(draws: Draws) -> MixupCallback:
        return MixupCallback(AMP(eps=0.1), site="net.0", on_mixed=draws)

    pl.seed_everything(0)
    one = module(dropout)
    trainer(callback(whole), max_epochs=2).fit(one, loader())

    pl.seed_everything(0)
    two = module(dropout)
    first = trainer(callback(parts), max_epochs=1)
    first.fit(two, loader())
    first.save_checkpoint(tmp_path / "last.ckpt")
    pl.seed_everything(seed)
    two = Module(dropout)
    trainer(callback(parts), max_epochs=2).fit(two, loader(), ckpt_path=tmp_path / "last.ckpt")
    return one, two, whole, parts


@pytest.mark.parametrize("seed", [0, 77], ids=["the seed again", "another seed"])
def test_a_resumed_run_draws_and_trains_as_if_it_had_gone_on(tmp_path: Path, seed: int) -> None:
    one, two, whole, parts = resumed(tmp_path, dropout=0.0, seed=seed)
    assert len(whole.lam) == 12
    assert len({tuple(lam) for lam in whole.lam}) == 12
    assert whole.lam == parts.lam
    assert [m.perm.tolist() for m in whole.all] == [m.perm.tolist() for m in parts.all]
    same(weights(one), weights(two))


def test_dropout_after_resuming_is_not_lightnings_to_restore(tmp_path: Path) -> None:
    one, two, whole, parts = resumed(tmp_path, dropout=0.5, seed=0)
    assert whole.lam == parts.lam
    assert changed(weights(one), weights(two))


class Resumable(Module):
    """The recipe of docs/guides/lightning.md."""

    def on_save_checkpoint(self, checkpoint: Any) -> None:
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: Any) -> None:
        self.random_state = checkpoint["random_state"]

    def on_train_start(self) -> None:
        if hasattr(self, "random_state"):
            torch.set_rng_state(self.random_state)


@pytest.mark.parametrize("kind", [Module, Resumable])
def test_with_its_random_state_kept_dropout_and_shuffling_resume_too(
    tmp_path: Path, kind: type
) -> None:
    def shuffled() -> DataLoader[Any]:
        sampler = DistributedSampler(examples(), num_replicas=1, rank=0)
        return DataLoader(examples(), 8, sampler=sampler, generator=torch.Generator())

    def callback() -> MixupCallback:
        return MixupCallback(AMP(eps=0.1), site="net.0")

    pl.seed_everything(0)
    whole = module(0.5, kind)
    trainer(callback(), max_epochs=2).fit(whole, shuffled())
    pl.seed_everything(0)
    first = trainer(callback(), max_epochs=1)
    first.fit(module(0.5, kind), shuffled())
    first.save_checkpoint(tmp_path / "last.ckpt")
    pl.seed_everything(77)
    rest = module(0.5, kind)
    trainer(callback(), max_epochs=2).fit(rest, shuffled(), ckpt_path=tmp_path / "last.ckpt")
    if kind is Resumable:
        same(weights(whole), weights(rest))
    else:
        assert changed(weights(whole), weights(rest))


def test_seeds_draw_differently() -> None:
    found = []
    for seed in (0, 0, 1):
        draws = Draws()
        model = module()
        pl.seed_everything(seed)
        trainer(MixupCallback(Mixup(), "net.0", on_mixed=draws), max_epochs=1).fit(model, loader())
        found.append(draws.lam)
    assert found[0] == found[1] != found[2]


# ------------------------------------------------------------------------------- logging


def test_what_is_logged() -> None:
    draws, runner = Draws(), None
    callback = MixupCallback(AMP(eps=0.3), site="net.0", on_mixed=draws)
    runner = trainer(callback, max_epochs=1)
    runner.fit(module(), loader())
    last, logged = draws.all[-1], runner.callback_metrics
    assert set(logged) == {"train_loss", "amp_shift", "amp_share"}
    assert float(logged["train_loss"]) == pytest.approx(float(last.loss.mean()))
    assert float(logged["amp_shift"]) == pytest.approx(
        float((last.lam_adv - last.lam).abs().mean())
    )
    assert float(logged["amp_share"]) == pytest.approx(int(last.mask.sum()) / 8)

    mixup = trainer(MixupCallback(Mixup(), site="net.0", log="loss/train"), max_epochs=1)
    mixup.fit(module(), loader())
    assert set(mixup.callback_metrics) == {"loss/train"}
    silent = trainer(MixupCallback(AMP(), site="net.0", log=""), max_epochs=1)
    silent.fit(module(), loader())
    assert not silent.callback_metrics


# --------------------------------------------------------------------------- other shapes


class Sigmoids(Module):
    """A loss of its own, no forward, no batch_idx, batches by name."""

    forward = pl.LightningModule.forward

    def training_step(self, batch: Any) -> Any:  # type: ignore[override]
        wanted = F.one_hot(batch["target"], 3).float()
        return {"loss": F.binary_cross_entropy_with_logits(self.net(batch["input"]), wanted)}


class Named(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        x, y = examples()[i]
        return {"input": x, "target": y}


def sigmoids(logits: Tensor, y: Tensor) -> Tensor:
    wanted = F.one_hot(y, 3).float()
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)


def test_own_losses_models_and_batches() -> None:
    found = []
    data = DataLoader(Named(), batch_size=8)
    for callbacks in (
        [],
        [MixupCallback(NoMixup(), model="net", loss=sigmoids, labels="target")],
        [
            MixupCallback(
                NoMixup(),
                model="net",
                loss=sigmoids,
                unpack=lambda batch: ((batch["input"],), batch["target"]),
            )
        ],
        [MixupCallback(Mixup(), "1", model="net", loss=sigmoids, labels="target")],
    ):
        model = module(kind=Sigmoids)
        trainer(*callbacks, max_epochs=1).fit(model, data)
        found.append(weights(model))
    same(found[0], found[1], atol=1e-7)
    same(found[0], found[2], atol=1e-7)
    assert changed(found[0], found[3])


class Texts(pl.LightningModule):  # type: ignore[misc]
    """A model of transformers, which gives its loss itself."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        sizes = dict.fromkeys(["hidden_size", "intermediate_size"], 16)
        heads = dict.fromkeys(["num_hidden_layers", "num_attention_heads"], 2)
        config = transformers.BertConfig(vocab_size=30, num_labels=3, **sizes, **heads)
        self.model = transformers.BertForSequenceClassification(config)

    def training_step(self, batch: Any) -> Tensor:
        return self.model(**batch).loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_models_of_transformers() -> None:
    mask = (torch.arange(7) < torch.arange(2, 8).unsqueeze(1)).long()
    ids = torch.randint(1, 30, mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(6) % 3}
    found = []
    for policy in (None, NoMixup(), AMP(eps=0.1)):
        callbacks = [] if policy is None else [MixupCallback(policy, "word", model="model")]
        torch.manual_seed(3)
        model = Texts()
        torch.manual_seed(4)
        trainer(*callbacks, max_epochs=1).fit(model, DataLoader([batch] * 3, batch_size=None))
        found.append(weights(model))
    same(found[0], found[1], atol=1e-6)
    assert changed(found[0], found[2])


class ByHand(Module):
    def __init__(self, dropout: float) -> None:
        super().__init__(dropout)
        self.automatic_optimization = False


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Sigmoids, {}, "Sigmoids has no forward.*model=...; there are net"),
        (Sigmoids, {"model": "nets"}, "model is 'nets'"),
        (Sigmoids, {"model": "net"}, "a batch is a dict of input, target"),
        (Sigmoids, {"model": "net", "labels": "target"}, "training_step gives .*loss=, per exam"),
        (ByHand, {}, "optimises by hand"),
        (Module, {"site": "net.7"}, "has no such submodule"),
    ],
    ids=["forward", "model", "batch", "loss", "manual", "site"],
)
def test_errors(kind: type, options: dict[str, Any], message: str) -> None:
    data = DataLoader(Named(), batch_size=8) if kind is Sigmoids else loader()
    site = options.pop("site", "0" if options else "net.0")
    with pytest.raises(AmpmixError, match=message):
        trainer(MixupCallback(AMP(), site, **options), max_epochs=1).fit(module(kind=kind), data)


def test_another_loss_trains_where_that_is_meant() -> None:
    data = DataLoader(Named(), batch_size=8)
    callback = MixupCallback(AMP(), "0", model="net", labels="target", check=False)
    model = module(kind=Sigmoids)
    before = weights(model)
    trainer(callback, max_epochs=1).fit(model, data)
    assert changed(before, weights(model))


LEARNING = [cls() for cls in find("ampmix.policies").values() if cls.learns]


@pytest.mark.parametrize("policy", LEARNING, ids=spec)
def test_policies_with_parameters_are_refused_prepared_or_not(policy: Policy) -> None:
    for given in (policy, policy.prepare((16,), 3)):
        with pytest.raises(AmpmixError, match="part of the LightningModule"):
            MixupCallback(given, site="net.0")


class Learning(Module):
    """A policy with parameters where the refusal says that it belongs."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.step = MixStep(self.net, policy.prepare((16,), 3), site="2")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return self.step(x, labels=y)[0]


@pytest.mark.parametrize("policy", LEARNING, ids=spec)
def test_policies_with_parameters_train_in_a_step_of_the_module(policy: Policy) -> None:
    model = Learning(policy)
    before = weights(model)
    trainer(max_epochs=1).fit(model, loader())
    after = weights(model)
    assert any("learner" in name for name in before)
    for name in dict(model.named_parameters()):
        if name != "net.0.bias":  # batch normalisation takes it off again
            assert not torch.equal(before[name], after[name]), name


def test_without_lightning_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['lightning', 'pytorch_lightning']))\n"
        "import ampmix\n"
        "try: import ampmix.integrations.lightning\n"
        "except ampmix.AmpmixError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'ampmix[lightning]'" in done.stdout


# ---------------------------------------------------------------------- several processes

TWO = """
import sys, torch
sys.path.insert(0, {tests!r})
import test_lightning as t
from ampmix import AMP
from ampmix.integrations.lightning import MixupCallback

class Keep(t.Watch):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batch = batch

    def on_train_end(self, trainer, pl_module):
        m = draws.all[-1]
        kept = [m.loss.detach(), m.lam, m.lam_adv, m.mask, m.perm]
        torch.save([kept, self.batch, self.kept], {out!r} + str(trainer.global_rank))

draws = t.Draws()
t.pl.seed_everything(4)
model = t.module()
model.net[1] = torch.nn.Identity()
callback = MixupCallback(AMP(eps=0.3), site="net.0", on_mixed=draws)
runner = t.trainer(callback, Keep([]), max_epochs=1, devices=2, strategy="ddp_fork",
                   limit_train_batches=1)
runner.fit(model, t.loader(batch=4))
"""


@pytest.mark.slow
def test_two_processes_average_the_gradients_of_their_mixed_batches(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parent), out=str(tmp_path / "rank")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = forked.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        imports=["pytest", "pytorch_lightning"],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (a, first, grads), (b, second, others) = (torch.load(tmp_path / f"rank{i}") for i in range(2))
    assert not torch.equal(a[1], b[1])  # each draws lam for itself
    assert not torch.equal(first[0], second[0])
    sums: list[Tensor] = []
    for kept, (x, y) in ((a, first), (b, second)):
        net = module().net
        net[1] = nn.Identity()
        by_hand(net, x, y, Mixed(*kept), adversarial=True).backward()
        found = [p.grad for p in net.parameters() if p.grad is not None]
        sums = found if not sums else [p + q for p, q in zip(sums, found, strict=True)]
    for ours, theirs, total in zip(grads, others, sums, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.allclose(ours, total / 2, atol=1e-6)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
