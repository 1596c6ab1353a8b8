"""Read texts by a tokenizer of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ampmix._support.extras import needed
from ampmix.backbones.hf_loading import CHUNK, _positions, _safely, explained, located
from ampmix.errors import AmpmixError
from ampmix.text.encoded import Encoded, Integers


@dataclass(frozen=True, eq=False)
class HFReader:
    """Reads texts with a model's own tokenizer (see :class:`ampmix.text.reader.Reader`).

    `max_length` counts tokens, special ones included; a longer text keeps its first ones and the
    closing special token.
    """

    tokenizer: Any
    max_length: int

    @classmethod
    def of_model(cls, model: str, max_length: int) -> HFReader:
        """The tokenizer of a model, cut at `max_length` or where the model's positions end.

        Raises AmpmixError if there is none, or it cannot pad.
        """
        place, transformers = located(model), needed("transformers", "encoder")
        with explained(model):
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **_safely(place))
            config = transformers.AutoConfig.from_pretrained(place, **_safely(place))
        if not tokenizer.is_fast:
            raise AmpmixError(
                f"{model} has a slow tokenizer only: save it with a tokenizer.json "
                "(AutoTokenizer.from_pretrained(...).save_pretrained(...))"
            )
        if tokenizer.pad_token_id is None:
            raise AmpmixError(
                f"the tokenizer of {model} has no padding token: it looks like a decoder's; "
                "choose an encoder such as bert-base-uncased, or minilm"
            )
        room = [max_length, tokenizer.model_max_length, _positions(config)]
        special = tokenizer.num_special_tokens_to_add()
        if min(room) <= special:
            raise AmpmixError(
                f"max_length is {max_length}: {model} adds {special} special tokens, "
                "so a text needs room for more"
            )
        return cls(tokenizer, min(room))

    @property
    def unknown(self) -> int:
        """Id of the unknown token; -1 for tokenizers that have none, of bytes or characters."""
        found = self.tokenizer.unk_token_id
        return -1 if found is None else int(found)

    @property
    def special(self) -> frozenset[int]:
        """Ids of the tokens that the model adds to texts."""
        return frozenset(self.tokenizer.all_special_ids) - {self.unknown}

    def losing(self, words: Sequence[str]) -> set[str]:
        """Return the words of which a piece is unknown."""
        read = self.tokenizer(list(words), add_special_tokens=False)["input_ids"] if words else []
        return {word for word, ids in zip(words, read, strict=True) if self.unknown in ids}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def check_fits(self, model: str, body: Any) -> None:
        """Raise AmpmixError if a text could have a token that `body` has no embedding for."""
        tokens = self.tokenizer.get_vocab()
        tokens.pop(self.tokenizer.mask_token, None)  # which no text has
        highest, rows = max(tokens.values()), body.get_input_embeddings().num_embeddings
        if highest >= rows:
            raise AmpmixError(
                f"the tokenizer of {model} gives ids up to {highest}, but it has {rows} "
                "embeddings: save a model with the tokenizer that it was trained with"
            )

    def encode(
        self, texts: Sequence[str], labels: Sequence[int] | Integers | None = None
    ) -> Encoded:
        """Return texts as ids of the model's tokens, special ones included."""
        rows: list[list[int]] = []
        cut = 0
        for start in range(0, len(texts), CHUNK):
            # half of a surrogate pair is no character, and the tokenizer would raise
            chunk = [text.encode("utf-8", "replace").decode() for text in texts[start:][:CHUNK]]
            read = self.tokenizer(chunk, truncation=True, max_length=self.max_length)
            rows += read["input_ids"]
            cut += sum(bool(encoding.overflowing) for encoding in read.encodings)
        padding = self.tokenizer.pad_token_id
        unknown = self.tokenizer.unk_token_id
        encoded = Encoded.of_ids(
            rows, labels, self.max_length, padding, padding if unknown is None else unknown
        )
        return replace(encoded, truncated=cut)

    def as_json(self) -> dict[str, Any]:
        """Return the reader's part of a model folder's configuration; its files hold the rest."""
        return {"tokenizer": "transformers", "max_length": self.max_length}

    def exported(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """A file for the library ``tokenizers``, which alone reads, cuts and pads as this does."""
        own = self.tokenizer
        alone = needed("tokenizers", "encoder").Tokenizer.from_str(own.backend_tokenizer.to_str())
        alone.enable_truncation(self.max_length, direction=own.truncation_side)
        alone.enable_padding(pad_id=own.pad_token_id, pad_token=own.pad_token)
        file = f"{name}.tokenizer.json"
        told = {"tokenizer": "tokenizers", "file": file, "max_length": self.max_length}
        return told, {file: alone.to_str()}
