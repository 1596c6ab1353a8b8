"""Small random encoders of several architectures, with tokenizers, in folders of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TINY = "tiny bert"
"""``Encoder(model=TINY)`` in a parametrised list stands for one whose folder is made for the test
that asks for it (the fixture ``backbone``)."""

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a cat dog rose oak runs grows lies grey red ?".split()  # noqa: SIM905
WORDS += ["apple", "train", "music", *(f"w{i}" for i in range(10))]
COMMON = {"vocab_size": len(WORDS), "max_position_embeddings": 32}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, tuple[str, dict[str, int]]] = {
    "bert": ("BertConfig", {**BERT, "intermediate_size": 20}),
    "roberta": (
        "RobertaConfig",
        {**BERT, "intermediate_size": 20, "pad_token_id": 1, "type_vocab_size": 1},
    ),
    "distilbert": ("DistilBertConfig", {"dim": 16, "n_layers": 2, "n_heads": 2}),
    "electra": ("ElectraConfig", {**BERT, "intermediate_size": 20, "embedding_size": 8}),
}
DEEP = {**BERT, "num_hidden_layers": 3, "intermediate_size": 20}
LAYERED: dict[str, tuple[str, dict[str, Any]]] = {
    "deep bert": ("BertConfig", DEEP),
    "deep roberta": ("RobertaConfig", {**DEEP, "pad_token_id": 1, "type_vocab_size": 1}),
    "deep distilbert": ("DistilBertConfig", {"dim": 16, "n_layers": 3, "n_heads": 2}),
    "deep electra": ("ElectraConfig", {**DEEP, "embedding_size": 8}),
    "deep mpnet": ("MPNetConfig", {**DEEP, "pad_token_id": 1}),
    "deep deberta": (
        "DebertaV2Config",
        {**DEEP, "relative_attention": True, "position_buckets": 4, "share_att_key": True}
        | {"pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm"},
    ),
    "deep modernbert": (
        "ModernBertConfig",
        {**DEEP, "pad_token_id": 0, "global_attn_every_n_layers": 2, "local_attention": 4}
        | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
}
"""Three layers of each architecture whose layers can be run apart."""
_, _DEBERTA = LAYERED["deep deberta"]
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": ("AlbertConfig", {**DEEP, "embedding_size": 8}),
    "convolved deberta": ("DebertaV2Config", {**_DEBERTA, "conv_kernel_size": 3}),
}
"""One whose layers are one layer, and one with a way around the first."""
LIKE_BERT: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": LAYERED["deep bert"],
    "roberta": LAYERED["deep roberta"],
    "electra": LAYERED["deep electra"],
    "camembert": ("CamembertConfig", {**DEEP, "pad_token_id": 1}),
    "data2vec-text": ("Data2VecTextConfig", {**DEEP, "pad_token_id": 1}),
    "ernie": ("ErnieConfig", DEEP),
    "xlm-roberta": ("XLMRobertaConfig", {**DEEP, "pad_token_id": 1}),
}
"""Three layers of each type of model whose layers are built like BERT's."""
ALL: dict[str, tuple[str, Any]] = {
    **CONFIGS, **LAYERED, **OTHERS, **{f"deep {kind}": own for kind, own in LIKE_BERT.items()}
}  # fmt: skip
PADDED_BY_1 = {kind for kind, (_, options) in ALL.items() if options.get("pad_token_id") == 1}


def tokenizer_of(kind: str) -> Any:
    """Splits at blanks, as BERT does."""
    import transformers

    words = list(WORDS)
    if kind in PADDED_BY_1:
        words[0], words[1] = words[1], words[0]
    return transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})


def save(kind: str, folder: Path) -> None:
    """Write a model with random weights and its tokenizer, as transformers does."""
    import transformers

    name, options = ALL[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, name)(**{**COMMON, **options})
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer_of(kind).save_pretrained(folder)
