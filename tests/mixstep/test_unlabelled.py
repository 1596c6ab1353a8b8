"""Texts without labels in the batches of MixStep, transformers' Trainer and Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AmpmixError, MixStep
from ampmix._support.components import POLICIES

USING = ["vat", "vmt", "selftrain", "mixtext"]
WORDS = 5


class Words(nn.Module):
    """A model of words with a mask, which may ask for labels."""

    def __init__(self, asks: bool = False) -> None:
        super().__init__()
        self.embed, self.asks = nn.Embedding(20, 6, padding_idx=0), asks
        self.head = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        x = self.embed(input_ids).tanh() * attention_mask.unsqueeze(-1)
        logits = self.head(x.sum(1))
        if self.asks:
            assert labels is not None and len(labels) == len(logits)
        return {"logits": logits}


def batch(n: int = 8, seed: int = 0) -> dict[str, Any]:
    source = torch.Generator().manual_seed(seed)
    mask = torch.arange(WORDS) < torch.randint(1, WORDS + 1, (n, 1), generator=source)
    ids = torch.randint(1, 20, (n, WORDS), generator=source) * mask
    return {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "labels": torch.randint(4, (n - 3,), generator=source),
        "unlabelled": 3,
        "guesses": torch.rand(3, 4, generator=source).softmax(-1),
    }


def model(**options: Any) -> Words:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Words(**options)


def parts(net: Words, given: dict[str, Any]) -> Any:
    """f and g of the batch at the embeddings, written out."""
    mask = given["attention_mask"].bool()

    def f(x: Tensor, held: Tensor) -> Tensor:
        return net.head((x.tanh() * held.unsqueeze(-1)).sum(1))  # type: ignore[no-any-return]

    return f, (net.embed(given["input_ids"]), mask)


@pytest.mark.parametrize("text", USING)
def test_a_step_is_what_the_policy_makes_of_both_kinds(text: str) -> None:
    policy, given, net = POLICIES.parse(text), batch(), model()
    step = MixStep(net, policy, site="embed", generator=torch.Generator().manual_seed(2))
    output = step(**given)
    output["loss"].backward()
    found = [parameter.grad.clone() for parameter in net.parameters()]  # type: ignore[union-attr]
    other = model()
    f, g = parts(other, given)
    mixed = policy(
        f, g, given["labels"], unlabelled=3, guesses=given["guesses"],
        generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    total = mixed.loss.mean() + mixed.unlabelled.mean()
    torch.testing.assert_close(output["loss"], total)
    for grad, own in zip(found, torch.autograd.grad(total, list(other.parameters())), strict=True):
        torch.testing.assert_close(grad, own)


@pytest.mark.parametrize("text", USING)
def test_a_model_that_asks_for_labels_gets_one_for_each_text(text: str) -> None:
    net = model(asks=True)
    step = MixStep(net, POLICIES.parse(text), site="embed", generator=torch.Generator())
    with pytest.raises(AssertionError):
        net(batch()["input_ids"], batch()["attention_mask"])
    step._gives_labels = True
    assert step(**batch())["loss"].isfinite()


def test_other_policies_refuse_them() -> None:
    step = MixStep(model(), POLICIES.parse("mixup"), site="embed")
    with pytest.raises(AmpmixError, match="policy mixup learns from labelled texts alone"):
        step(**batch())


def test_a_batch_without_them_trains_as_ever() -> None:
    given = batch()
    given = {name: given[name] for name in ("input_ids", "attention_mask", "labels")}
    given = {name: value[:5] for name, value in given.items()}
    losses = []
    for further in ({}, {"unlabelled": 0}):
        step = MixStep(
            model(), POLICIES.parse("vat"), "embed", generator=torch.Generator().manual_seed(1)
        )
        losses.append(step(**given, **further)["loss"])
    assert torch.equal(*losses)


def test_a_policy_that_changes_must_be_told_how_far_training_is() -> None:
    step = MixStep(model(), POLICIES.parse("mixtext[ramp=0.5]"), "embed")
    with pytest.raises(AmpmixError, match=r"step\.advance\(done / steps\)"):
        step(**batch())
    losses = []
    for progress in (0.0, 0.25, 0.5):
        step = MixStep(
            model(), POLICIES.parse("mixtext[ramp=0.5]"), "embed",
            generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        step.advance(progress)
        losses.append(step(**batch())["loss"].item())
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2)
    assert losses[0] < losses[2]


def collated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Texts with labels, then those without."""
    rows = sorted(rows, key=lambda row: row["labels"] < 0)
    known = [row["labels"] for row in rows if row["labels"] >= 0]
    made = {
        name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "attention_mask")
    }
    return {**made, "labels": torch.tensor(known), "unlabelled": len(rows) - len(known)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ["vat", "mixtext[ramp=0.5]"])
def test_a_collator_gives_them_to_the_trainer_of_transformers(text: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from ampmix.integrations.transformers import MixupTrainer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=8, max_position_embeddings=WORDS, num_labels=4,
            )
        )  # fmt: skip
        before = {name: value.clone() for name, value in net.state_dict().items()}
        rows = [
            {
                "input_ids": [1 + (i * k) % 19 for k in range(1, WORDS + 1)],
                "attention_mask": [1] * WORDS,
                "labels": i % 4 if i % 2 else -1,
            }
            for i in range(24)
        ]
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=3, per_device_train_batch_size=8, report_to=[],
            save_strategy="no", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        seen: list[Any] = []
        trainer = MixupTrainer(
            model=net, args=arguments, train_dataset=rows, policy=POLICIES.parse(text),
            data_collator=collated,
        )  # fmt: skip
        note = trainer._note
        trainer._note = lambda mixed: (seen.append(mixed), note(mixed))[1]  # type: ignore[method-assign]
        trainer.train()
    assert [len(mixed.loss) + len(mixed.unlabelled) for mixed in seen] == [8, 8, 8]
    assert any(not torch.equal(before[name], own) for name, own in net.state_dict().items())
    assert all(value.isfinite().all() for value in net.state_dict().values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ["vat", "mixtext[ramp=0.5]"])
def test_a_collator_gives_them_to_lightning(text: str) -> None:
    pl = pytest.importorskip("pytorch_lightning")
    from ampmix.integrations.lightning import MixupCallback

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.net(input_ids, attention_mask)["logits"]  # type: ignore[no-any-return]

        def training_step(self, batch: Any, _: int) -> Tensor:
            raise AssertionError

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    rows = [
        {
            "input_ids": [1 + (i * k) % 19 for k in range(1, WORDS + 1)],
            "attention_mask": [1] * WORDS,
            "labels": i % 4 if i % 2 else -1,
        }
        for i in range(24)
    ]
    seen: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Module()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        trainer = pl.Trainer(
            max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
            callbacks=[
                MixupCallback(POLICIES.parse(text), site="net.embed", on_mixed=seen.append)
            ],
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=8, collate_fn=collated))
    assert [(len(mixed.loss), len(mixed.unlabelled)) for mixed in seen] == [(4, 4)] * 3
    after = module.state_dict()
    assert any(not torch.equal(before[name], own) for name, own in after.items())
    assert all(value.isfinite().all() for value in after.values())
