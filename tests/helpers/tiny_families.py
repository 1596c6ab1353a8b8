"""One tiny random text classifier of each of many architectures of transformers, in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LENGTHS, TOKENS, WORDS, CLASSES = (3, 7, 5, 6, 2, 7), 7, 60, 4
END = 1
"""The id that every text ends with: encoder-decoders read a text where it stands."""

SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "num_labels": CLASSES,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": END,
    "decoder_start_token_id": 0,
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "emb_dim", "true_hidden_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layers", "n_layer"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_heads", "n_head"), 2),
    **dict.fromkeys(("num_heads", "encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "hidden_dim", "d_ff", "d_inner", "dff"), 24),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size"), 24),
    **dict.fromkeys(("d_kv", "d_head", "head_dim", "word_embed_proj_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 40),
    **dict.fromkeys(("num_experts", "num_local_experts", "num_experts_per_tok"), 2),
    "rotary_dim": 4,
    "attn_implementation": "eager",
}

FAMILIES: dict[str, dict[str, Any]] = {
    "Albert": {"embedding_size": 8},
    "Arcee": {},
    "Bert": {},
    "BigBird": {"attention_type": "original_full"},
    "BioGpt": {},
    "Bloom": {},
    "Camembert": {},
    "ConvBert": {},
    "CTRL": {},
    "Data2VecText": {},
    "Deberta": {},
    "DebertaV2": {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "DiffLlama": {},
    "DistilBert": {},
    "Electra": {},
    "Ernie": {},
    "Esm": {"position_embedding_type": "absolute"},
    "Flaubert": {},
    "FNet": {},
    "Funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1},
    "Gemma": {},
    "Gemma2": {},
    "GPT2": {},
    "GPTBigCode": {},
    "GPTNeo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "GPTNeoX": {},
    "GPTJ": {},
    "IBert": {"quant_mode": False},
    "LayoutLM": {},
    "Llama": {},
    "Longformer": {"attention_window": 4},
    "MegatronBert": {},
    "Mistral": {},
    "MobileBert": {"intra_bottleneck_size": 16, "num_feedforward_networks": 1},
    "ModernBert": {"global_attn_every_n_layers": 2, "local_attention": 16},
    "MPNet": {},
    "Nystromformer": {"num_landmarks": 4, "segment_means_seq_len": 4},
    "OPT": {},
    "Persimmon": {},
    "Phi": {},
    "Qwen2": {},
    "Qwen3": {},
    "RemBert": {"input_embedding_size": 8, "output_embedding_size": 8},
    "Roberta": {"pad_token_id": 1, "eos_token_id": 2},
    "RobertaPreLayerNorm": {"pad_token_id": 1, "eos_token_id": 2},
    "RoCBert": {"enable_pronunciation": False, "enable_shape": False},
    "RoFormer": {"embedding_size": 16},
    "SqueezeBert": {"embedding_size": 16},
    "StableLm": {},
    "Starcoder2": {},
    "XLM": {},
    "XLMRoberta": {"pad_token_id": 1, "eos_token_id": 2},
    "XLNet": {},
}
"""What each takes besides :data:`SIZES`."""

KEPT = {
    "XLNet": ("d_head", "max_position_embeddings"),
    "Funnel": ("num_hidden_layers", "hidden_size"),
}
"""Settings that a class computes from others."""


def build(name: str) -> Any:
    import transformers

    kind = getattr(transformers, f"{name}Config")
    default, own = kind(), FAMILIES[name]
    left_out = {*getattr(kind, "attribute_map", {}), *KEPT.get(name, ())}
    given = {k: v for k, v in SIZES.items() if hasattr(default, k) and k not in left_out}
    still = {
        k: 0.0 for k, v in default.to_dict().items() if "drop" in k and isinstance(v, float)
    } | {"num_labels": CLASSES, "attn_implementation": "eager"}
    config = kind(**{**given, **still, **own})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForSequenceClassification")(config)
        for parameter in model.parameters():  # zeros would hide what depends on them
            if parameter.dim() < 2:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model.double().train()


def batch(model: Any, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    config = model.config
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(5, WORDS, mask.shape, generator=generator)
    end = getattr(config, "eos_token_id", None)
    end = end if isinstance(end, int) else END
    ids[torch.arange(len(lengths)), mask.sum(1) - 1] = end
    padding = config.pad_token_id if isinstance(config.pad_token_id, int) else 0
    labels = torch.randint(CLASSES, (len(lengths),), generator=generator)
    return {
        "input_ids": ids.where(mask, padding),
        "attention_mask": mask.long(),
        "labels": labels,
    }
