"""Masks of mixed texts are united wherever a model has them, or a warning says which is not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ampmix import AMP, Mixed, MixStep, Mixup

LENGTHS = torch.tensor([3, 7, 5, 6, 2, 7])
MASK = torch.arange(7) < LENGTHS.unsqueeze(1)
IDS = torch.randint(1, 50, MASK.shape, generator=torch.Generator().manual_seed(0)) * MASK
Y = torch.arange(6) % 3


class Net(nn.Module):
    """The mean over the tokens of a text, of a transformation of its words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.f, self.head = nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def rest(self, x: Tensor, mask: Tensor) -> Tensor:
        kept = mask.unsqueeze(-1).to(x.dtype)
        return self.head((self.f(x).tanh() * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


class Named(Net):
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.rest(self.embed(ids), mask)


class Nested(Net):
    def forward(self, batch: Any) -> Tensor:
        return self.rest(self.embed(batch["text"][0]["ids"]), batch["text"][0]["mask"])


class Column(Net):
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.rest(self.embed(ids), mask[..., 0])


class Additive(Net):
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.rest(self.embed(ids), mask[:, 0, 0] >= 0)


class Maker(nn.Module):
    def forward(self, mask: Tensor) -> Tensor:
        return mask & True


class BySubmodule(Net):
    def __init__(self) -> None:
        super().__init__()
        self.maker = Maker()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        made = self.maker(mask)
        return self.rest(self.embed(ids), made)


class Scores(nn.Module):
    """A mask as a layer of parameters makes it, among other things: with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"ids": ids, "kept": mask.to(self.scale.dtype) * self.scale}


class ByParameters(BySubmodule):
    def __init__(self) -> None:
        super().__init__()
        self.maker = Scores()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        made = self.maker(ids, mask)
        return self.rest(self.embed(made["ids"]), made["kept"])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(50, 8)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.e(ids), mask


class BySite(Net):
    def __init__(self) -> None:
        super().__init__()
        self.embed = Encoder()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.rest(*self.embed(ids, mask))


class FromIds(Net):
    def forward(self, ids: Tensor) -> Tensor:
        return self.rest(self.embed(ids), ids != 0)


class Star(Net):
    def forward(self, *args: Tensor) -> Tensor:
        return self.rest(self.embed(args[0]), args[1])


class Tuple(Net):
    def forward(self, batch: Any) -> Tensor:
        return self.rest(self.embed(batch[0]), batch[1])


class Windowed(Net):
    """Fills up to a window within, as Longformer does."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((0, 4), 0)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(self.pad(ids))
        return self.rest(x, torch.nn.functional.pad(mask, (0, 4)))


def run(model: Net, args: tuple[Any, ...], **options: Any) -> tuple[str, list[str]]:
    """Whether masks were texts' own or united, by arithmetic, and what was warned of."""
    model.double().train()
    seen: list[Mixed] = []
    step = MixStep(model, Mixup(), site="embed", on_mixed=seen.append, **options)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        out = step(*args, labels=Y).logits
    table = model.embed.e if isinstance(model.embed, Encoder) else model.embed
    lam, perm, x = seen[0].lam.double()[:, None, None], seen[0].perm, table(IDS)
    x = lam * x + (1 - lam) * x[perm]
    if isinstance(model, Windowed):
        x = torch.cat((x, x[:, :4]), 1)
    found = []
    for name, mask in (("own", MASK), ("united", MASK | MASK[perm])):
        if isinstance(model, Windowed):
            mask = torch.nn.functional.pad(mask, (0, 4))
        if torch.allclose(out, model.rest(x, mask)):
            found.append(name)
    return " ".join(found), [str(w.message) for w in told if "site embed" in str(w.message)]


ADDITIVE = torch.where(MASK, 0.0, -1e9)[:, None, None].double()


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        (Named, (IDS, MASK)),
        (Named, (IDS, MASK.long())),
        (Named, (IDS, MASK.double())),
        (Nested, ({"text": [{"ids": IDS, "mask": MASK}]},)),
        (Column, (IDS, MASK[..., None])),
        (Additive, (IDS, ADDITIVE)),
        (BySubmodule, (IDS, MASK)),
        (ByParameters, (IDS, MASK)),
        (BySite, (IDS, MASK)),
        (Windowed, (IDS, MASK)),
    ],
)
def test_masks_are_united_wherever_they_are(kind: Any, args: Any) -> None:
    assert run(kind(), args) == ("united", [])


@pytest.mark.parametrize(
    ("kind", "args", "name"),
    [
        (FromIds, (IDS,), "ids"),
        (Star, (IDS, MASK), "1"),
        (Tuple, ((IDS, MASK),), "batch.1"),
        (Nested, ({"text": [{"ids": IDS, "mask": MASK}]},), ""),
    ],
)
def test_one_that_cannot_be_known_is_warned_of_with_the_way_out(
    kind: Any, args: Any, name: str
) -> None:
    found, told = run(kind(), args)
    if not name:
        assert not told
        return
    assert found == "own"
    assert f"give masks=['{name}']" in told[0]
    assert run(kind(), args, masks=[name]) == ("united", [])


def test_a_warning_is_given_once_and_when_texts_are_first_of_several_lengths() -> None:
    step = MixStep(Star().double().train(), Mixup(), site="embed")
    full = torch.ones_like(MASK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        step(IDS, full, labels=Y)
    with pytest.warns(UserWarning, match="masks="):
        step(IDS, MASK, labels=Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        step(IDS, MASK, labels=Y)


class Towers(nn.Module):
    """Two texts, of which the first is mixed; their lengths agree, their masks do not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = Named(), Named()

    def forward(self, one: dict[str, Tensor], two: dict[str, Tensor]) -> Tensor:
        return self.one(**one) + self.two(**two)


def test_the_mask_of_a_tower_that_is_not_mixed_stays_its_own() -> None:
    model, seen = Towers().double().train(), list[Mixed]()
    one, two = {"ids": IDS, "mask": MASK}, {"ids": IDS.flip(0), "mask": MASK.flip(0)}
    step = MixStep(model, Mixup(), site="one.embed", on_mixed=seen.append)
    with pytest.warns(UserWarning, match=r"around it, unmixed \(.*two\.ids"):
        out = step(one, two, labels=Y).logits
    lam, perm, x = seen[0].lam.double()[:, None, None], seen[0].perm, model.one.embed(IDS)
    expected = model.one.rest(lam * x + (1 - lam) * x[perm], MASK | MASK[perm]) + model.two(**two)
    torch.testing.assert_close(out, expected)


def masked_models() -> list[Any]:
    return [
        ("Longformer", {"attention_window": 4}, "word", 7),
        ("Longformer", {"attention_window": 4}, "longformer.encoder.layer.0", 7),
        ("Funnel", {"block_sizes": [1, 1], "num_decoder_layers": 1}, "funnel.encoder.blocks.1", 7),
        (
            "BigBird",
            {"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 1,
             "max_position_embeddings": 256},
            "word",
            100,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "site", "tokens"), masked_models())
def test_models_whose_tokens_are_padded_or_pooled_within(
    name: str, options: Any, site: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    import tiny_families as tiny

    monkeypatch.setitem(tiny.FAMILIES, name, options)
    model = tiny.build(name)
    inputs = tiny.batch(model, (tokens // 3, tokens, tokens // 2, tokens - 1, 2, tokens))
    seen: list[Mixed] = []
    site = "funnel.encoder.blocks.1.0" if name == "Funnel" else site
    step = MixStep(model, AMP(eps=0.0), site=site, on_mixed=seen.append)
    out = step(**inputs)["logits"]
    lam, perm = seen[0].lam.double(), seen[0].perm
    module, given = model.get_submodule(step.cut.site.path), list[Tensor]()  # type: ignore[union-attr]
    plain = {k: v for k, v in inputs.items() if k != "labels"}

    def first(x: Any) -> Tensor:
        return x if isinstance(x, Tensor) else x[0]  # type: ignore[no-any-return]

    hook = module.register_forward_hook(lambda m, a, o: given.append(first(o)))
    model(**plain)
    hook.remove()
    mixed = lam[:, None, None] * given[0] + (1 - lam[:, None, None]) * given[0][perm]
    own, ids = plain["attention_mask"], plain["input_ids"]
    both = own | own[perm]
    plain["input_ids"] = torch.where((both == 1) & (own == 0), ids[:, :1], ids)
    hook = module.register_forward_hook(
        lambda m, a, o: mixed if isinstance(o, Tensor) else (mixed, *o[1:])
    )
    expected = model(**{**plain, "attention_mask": both})["logits"]
    hook.remove()
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
