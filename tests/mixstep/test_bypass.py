"""What goes around the site, before or after it, is warned of; parameters are no bypass."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ampmix
from ampmix import AMP, AmpmixError, Mixed, MixStep, Mixup, NoMixup

IDS, Y = torch.arange(42).reshape(6, 7), torch.arange(6) % 4
TABLE = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


class WithTable(nn.Module):
    """A text and the features of a table, which come before or after it, or as they are."""

    def __init__(self, order: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.order = order
        self.embed, self.tab = nn.Embedding(60, 8), nn.Linear(5, 8)
        self.head = nn.Linear(13 if order == "raw" else 16, 4)

    def forward(self, ids: Tensor, table: Tensor) -> Tensor:
        if self.order == "first":
            t, x = self.tab(table), self.embed(ids).mean(1)
        else:
            x, t = self.embed(ids).mean(1), table if self.order == "raw" else self.tab(table)
        return self.head(torch.cat([x, t], 1))  # type: ignore[no-any-return]


class ReadsAgain(nn.Module):
    """Embeds the ids a second time, as decoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Embedding(60, 8), nn.Embedding(60, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.encode(ids).mean(1)
        return self.head(x * self.decode(ids).mean(1))  # type: ignore[no-any-return]


class IdentityFirst(nn.Module):
    """A branch that begins with nothing, as the first of ModernBERT's does."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.f = nn.Embedding(60, 8), nn.Identity(), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        return self.head((x + self.f(self.norm(x)).tanh()).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "inputs", "site", "named"),
    [
        (WithTable("first"), {"ids": IDS, "table": TABLE}, "embed", ""),
        (WithTable("after"), {"ids": IDS, "table": TABLE}, "embed", "table"),
        (WithTable("raw"), {"ids": IDS, "table": TABLE}, "embed", "table"),
        (ReadsAgain(), {"ids": IDS}, "encode", "ids"),
        (IdentityFirst(), {"ids": IDS}, "norm", ""),
    ],
)
def test_what_goes_around_is_warned_of_and_not_whole(
    model: nn.Module, inputs: dict[str, Tensor], site: str, named: str
) -> None:
    rows = {row.path: row.whole for row in ampmix.sites(model, inputs)}
    assert not rows[site]
    with pytest.warns(UserWarning, match=rf"site {site}: .*around it, unmixed.*{named}"):
        MixStep(model.train(), Mixup(), site=site)(**inputs, labels=Y)


@pytest.mark.parametrize("site", ["embed", "f"])
def test_without_mixing_nothing_is_warned_of(site: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        MixStep(IdentityFirst().train(), NoMixup(), site=site)(ids=IDS, labels=Y)


def tiny(name: str, **options: Any) -> tuple[Any, dict[str, Tensor]]:
    pytest.importorskip("transformers")
    import tiny_families

    before = tiny_families.FAMILIES.get(name)
    tiny_families.FAMILIES[name] = options if options or before is None else before
    try:
        model = tiny_families.build(name)
    finally:
        if before is None:
            del tiny_families.FAMILIES[name]
        else:
            tiny_families.FAMILIES[name] = before
    return model, tiny_families.batch(model)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("Bart", "model.encoder.embed_tokens"),
        ("Bart", "model.encoder.layers.1"),
        ("MBart", "model.encoder.layers.0"),
        ("T5", "transformer.encoder.embed_tokens"),
    ],
)
def test_a_decoder_that_reads_the_text_again(name: str, site: str) -> None:
    model, inputs = tiny(name, decoder_start_token_id=0)
    assert not {row.path: row.whole for row in ampmix.sites(model, inputs)}.get(site)
    with pytest.warns(UserWarning, match="around it, unmixed"):
        MixStep(model, Mixup(), site=site)(**inputs)
    with pytest.raises(AmpmixError, match=r"in its encoder and again in its decoder.*give 'sent'"):
        MixStep(model, Mixup(), site="word")


@pytest.mark.parametrize(
    ("name", "site"),
    [("DebertaV2", "deberta.encoder.layer.0"), ("MPNet", "mpnet.encoder.layer.0")],
)
def test_positions_of_parameters_alone_are_no_bypass(name: str, site: str) -> None:
    model, inputs = tiny(name)
    rows = {row.path: row.whole for row in ampmix.sites(model, inputs)}
    assert rows[site]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        MixStep(model, AMP(), site=site)(**inputs)["loss"].backward()


class T5Classifier(nn.Module):
    """The mean of T5's encoder, whose blocks hand on a bias of positions and mask."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
        config = transformers.T5Config(vocab_size=60, dropout_rate=0.0, **sizes)
        torch.manual_seed(0)
        self.encoder = transformers.T5EncoderModel(config)
        self.head = nn.Linear(16, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask[..., None].to(x.dtype)
        return self.head((x * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("site", ["encoder.encoder.block.0", "encoder.encoder.block.1"])
def test_a_bias_without_an_axis_of_examples_is_handed_on(site: str) -> None:
    """Against hooks: losses, and the gradients of all parameters, that of the bias among them."""
    model = T5Classifier().double().train()
    mask = (torch.arange(7) < torch.tensor([3, 7, 5, 6, 2, 7])[:, None]).long()
    ids, seen = IDS % 50 + 3, list[Mixed]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        step = MixStep(model, Mixup(), site=site, on_mixed=seen.append)
        step(ids, mask, labels=Y).loss.backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    lam, perm = seen[0].lam.double(), seen[0].perm
    given: list[Tensor] = []
    block = model.get_submodule(site)
    hook = block.register_forward_hook(lambda m, a, o: given.append(o[0]))
    model(ids, mask)
    hook.remove()
    mixed = lam[:, None, None] * given[0] + (1 - lam[:, None, None]) * given[0][perm]
    hook = block.register_forward_hook(lambda m, a, o: (mixed, *o[1:]))
    logits = model(ids, mask | mask[perm])
    hook.remove()
    cross = torch.nn.functional.cross_entropy
    expected = lam * cross(logits, Y, reduction="none")
    expected = expected + (1 - lam) * cross(logits, Y[perm], reduction="none")
    torch.testing.assert_close(seen[0].loss.double(), expected)
    expected.mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad, rtol=1e-7, atol=1e-10, msg=name)


class Shared(nn.Module):
    """Uses one dropout, and one activation, in several places."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)
        self.f1, self.f2 = nn.Linear(8, 8), nn.Linear(8, 8)
        drops = [nn.Dropout(0.1)] * 3 if shared else [nn.Dropout(0.1) for _ in range(3)]
        acts = [nn.Tanh()] * 2 if shared else [nn.Tanh() for _ in range(2)]
        self.d0, self.d1, self.d2, self.a1, self.a2 = *drops, *acts

    def forward(self, ids: Tensor) -> Tensor:
        x = self.d0(self.embed(ids))
        x = self.d1(self.a1(self.f1(x)))
        return self.head(self.d2(self.a2(self.f2(x))).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("shared", [False, True])
def test_a_shared_dropout_or_activation_hides_no_layer(shared: bool) -> None:
    rows = {row.path: row.whole for row in ampmix.sites(Shared(shared), IDS)}
    assert [rows[path] for path in ("embed", "f1", "f2", "head")] == [True] * 4
    assert "f1" in str(ampmix.sites(Shared(shared), IDS))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ResNet", {"hidden_sizes": [8, 8], "depths": [1, 1], "embedding_size": 8}),
        ("ConvNext", {"hidden_sizes": [8, 8], "depths": [1, 1], "num_stages": 2}),
        ("RegNet", {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "groups_width": 4}),
    ],
)
def test_models_without_input_embeddings_have_sites(name: str, options: Any) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(num_labels=3, **options)
    model = getattr(transformers, f"{name}ForImageClassification")(config)
    assert ampmix.sites(model, {"pixel_values": torch.randn(4, 3, 32, 32)})
    with pytest.raises(AmpmixError, match="does not say where that is"):
        MixStep(model, Mixup(), site="word")
