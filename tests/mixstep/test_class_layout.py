"""Models whose classes have other bases before nn.Module, and sites that give other objects."""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

import ampmix
from ampmix import AMP, Mixed, MixStep, Mixup

T = TypeVar("T")


class Encoder(ABC, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)  # type: ignore[no-any-return]


class Parametrised(Generic[T], Encoder):
    pass


class Slotted:
    __slots__ = ()


class WithSlots(Slotted, Encoder):
    pass


class Abstract(nn.Module, ABC):
    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...


class Concrete(Abstract, Generic[T]):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)  # type: ignore[no-any-return]


class Quantised(Encoder):
    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeQuantize()

    def forward(self, x: Tensor) -> Tensor:
        return self.fake(super().forward(x))  # type: ignore[no-any-return]


KINDS: list[Callable[[], nn.Module]] = [Encoder, Parametrised, WithSlots, Concrete, Quantised]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", ["0", "0.f", "2:input"])
def test_any_layout_of_classes_is_cut(kind: Any, site: str) -> None:
    model = nn.Sequential(kind(), nn.Tanh(), nn.Linear(8, 3)).train()
    x, y, seen = torch.randn(6, 4), torch.arange(6) % 3, list[Mixed]()
    before = [type(part) for part in model.modules()]
    assert {row.path for row in ampmix.sites(model, x)} >= {"0", "0.f", "2"}
    step = MixStep(model, Mixup(), site=site, on_mixed=seen.append)
    logits = step(x, labels=y).logits
    assert [type(part) for part in model.modules()] == before
    if kind is Quantised:
        return  # it counts what it sees
    lam, perm, g = seen[0].lam[:, None], seen[0].perm, model[0](x)
    g = model[1](g) if site == "2:input" else g
    g = lam * g + (1 - lam) * g[perm]
    torch.testing.assert_close(logits, model[2](g if site == "2:input" else model[1](g)))


@dataclasses.dataclass
class Hidden:
    last: Tensor
    length: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenHidden:
    last: Tensor


class Returns(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.e, self.make = nn.EmbeddingBag(50, 8), make

    def forward(self, ids: Tensor) -> Any:
        return self.make(self.e(ids))


class Whole(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.enc, self.head = Returns(make), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        found = self.enc(ids)
        return self.head(found["last"] if isinstance(found, dict) else found.last)  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [Hidden, FrozenHidden, lambda x: {"last": x}])
def test_a_site_may_give_a_dataclass(make: Any) -> None:
    model, seen = Whole(make).train(), list[Mixed]()
    ids = torch.arange(42).reshape(6, 7)
    step = MixStep(model, Mixup(), site="enc", on_mixed=seen.append)
    logits = step(ids, labels=torch.arange(6) % 3).logits
    lam, perm, g = seen[0].lam[:, None], seen[0].perm, model.enc.e(ids)
    torch.testing.assert_close(logits, model.head(lam * g + (1 - lam) * g[perm]))
    MixStep(model, AMP(), site="head:input")(ids, labels=torch.arange(6) % 3).loss.backward()


def test_batches_keep_their_class_and_attributes() -> None:
    transformers = pytest.importorskip("transformers")

    class ByAttribute(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)

        def forward(self, batch: Any) -> Tensor:
            kept = batch.attention_mask[..., None]
            return self.head((self.e(batch.input_ids) * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]

    mask = (torch.arange(7) < torch.tensor([3, 7, 5, 6, 2, 7])[:, None]).long()
    batch = transformers.BatchEncoding(
        {"input_ids": torch.arange(42).reshape(6, 7), "attention_mask": mask}
    )
    model, seen = ByAttribute().train(), list[Mixed]()
    step = MixStep(model, Mixup(), site="e", on_mixed=seen.append)
    logits = step(batch, labels=torch.arange(6) % 3).logits
    lam, perm, x = seen[0].lam[:, None, None], seen[0].perm, model.e(batch.input_ids)
    x, kept = lam * x + (1 - lam) * x[perm], (mask | mask[perm])[..., None]
    torch.testing.assert_close(logits, model.head((x * kept).sum(1) / kept.sum(1)))


def sentence_transformer(folder: Path) -> Any:
    library = pytest.importorskip("sentence_transformers")
    import tiny_encoders

    tiny_encoders.save("bert", folder)
    parts = (
        library.sentence_transformer.modules
        if hasattr(library, "sentence_transformer")
        else library.models
    )
    body = parts.Transformer(str(folder), max_seq_length=16)
    return library.SentenceTransformer(
        modules=[body, parts.Pooling(16, pooling_mode="mean")], device="cpu"
    )


class Classifier(nn.Module):
    """A linear layer on the vectors of a sentence-transformer."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(16, 3)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(self.body(dict(features))["sentence_embedding"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("site", ["word", "layer", "head:input"])
def test_sentence_transformers_own_model_trains_and_is_saved(site: str, tmp_path: Path) -> None:
    body = sentence_transformer(tmp_path / "bert")
    texts = ["a cat runs", "oak", "red dog grows", "a rose", "grey", "a cat lies ?"]
    model = Classifier(body).train()
    embeddings = next(n for n, m in model.named_modules() if n.endswith("word_embeddings"))
    path = {"word": embeddings, "layer": embeddings.split("embeddings.")[0] + "encoder.layer.0"}
    step = MixStep(model, AMP(eps=0.1), site=path.get(site, site))
    features = body.tokenize(texts)
    features = {k: v for k, v in features.items() if isinstance(v, Tensor)}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    y, before = torch.arange(6) % 3, body.encode(texts)
    model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(3):
            step(features, labels=y).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    after = body.eval().encode(texts)
    assert abs(after - before).max() > 1e-3 or site == "head:input"
    body.save(str(tmp_path / "saved"))
    again = type(body)(str(tmp_path / "saved"), device="cpu")
    assert abs(again.encode(texts) - after).max() < 1e-6
