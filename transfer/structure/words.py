"""What libraries call the same part of a network, and where such a part usually stands among its siblings.

Only headers of unknown order are read by their words, and only where shapes leave a choice: names that mean nothing
are as good as any. A name is cut into words at dots, underscores, digits and capitals.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["likeness", "meanings", "place", "skeleton"]


def _by_word(words: dict[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, listed in words.items() for word in listed.split()}


_PHRASES = _by_word(
    {
        "query": "q query queries to_q wq q_lin q_proj query_proj linear_q",
        "key": "k key keys to_k wk k_lin k_proj key_proj linear_k",
        "value": "v value values to_v wv v_lin v_proj value_proj linear_v",
        "query key value": "qkv in_proj queries_keys_values query_key_value to_qkv qkv_proj wqkv",
        "query key value attention": "c_attn",
        "key value": "kv keys_values to_kv",
        "out": "o o_proj wo to_out out_lin projection_out",
        "norm first": (
            "layernorm_before before_norm input_layernorm attention_norm attn_norm norm_attn attn_ln "
            "self_attn_layer_norm sa_layer_norm"
        ),
        "norm second": (
            "layernorm_after after_norm post_attention_layernorm ffn_norm norm_mlp norm_ffn mlp_ln "
            "mlp_norm final_layer_norm output_layer_norm ffn_layer_norm"
        ),
        "norm before": "norm_pre pre_layrnorm pre_layernorm ln_pre",
        "norm last": "post_layernorm ln_post ln_f final_norm ln_final fc_norm",
        "feed in": "intermediate c_fc wi up up_proj linear_up",
        "feed in gate": "gate_proj",
        "feed out": "down down_proj linear_down",
        "table": "attention_biases relative_position_bias_table relative_position_bias",
        "head": "visual_projection text_projection cls_classifier",
        "patch": "patch_embeddings patch_embedding patch_embed conv_proj conv_stem embedder stem bottleneck",
        "position": (
            "position_embeddings position_embedding pos_embedding pos_embed positional_embedding "
            "absolute_pos_embed pos_emb pos position positions wpe"
        ),
        "word": "wte tok_embeddings word_embeddings embed_tokens",
        "kind": "token_type_embeddings",
        "class": "cls_token class_token class_embedding cls",
        "teacher": "dist_token distillation_token",
        "teacher head": "distillation_classifier head_dist",
        "mask": "mask_token",
        "register": "register_tokens reg_token",
        "depthwise": "depthwise_conv dwconv conv_dw",
        "project": "conv_pwl project_conv",
        "enlarge": "expand_conv conv_pw conv_exp expansion",
        "context": "projection_context",
        "in": "projection_in",
    }
)
"""What one component of a name says as a whole, its numbers left out."""

_WORDS = _by_word(
    {
        "norm": "norm ln layernorm bn batchnorm gn rmsnorm normalization layrnorm",
        "attention": "attention attn mha",
        "feed": "mlp ffn ff feedforward fc lin pwconv",
        "conv": "conv convolution",
        "out": "output out proj projection",
        "scale": "gamma lambda ls scale",
        "shortcut": "shortcut downsample downsampling identity skip",
        "gate": "se squeeze excite excitation",
        "merge": "reduction",
        "head": "head heads classifier logits top",
        "pool": "pooler",
        "patch": "stem embeddings embed",
        "response": "grn",
        "reduce": "sr spatial",
        "table": "cpb",
        "bias": "bias",
        "logit": "logit",
        "index": "index",
        "depthwise": "depthwise dw",
        "enlarge": "expand",
        "project": "reduce",
        "dense": "dense",
    }
)
"""What one word of a component says."""

_WEIGHT = {"norm": 0.2, "conv": 0.2, "dense": 0.1, "patch": 0.5, "feed": 0.6, "attention": 0.6, "scale": 0.5}
"""What shapes tell anyway says less than the words that tell equal shapes apart."""

_PLACES = {
    "patch": 1, "word": 1, "class": 2, "teacher": 3, "register": 3, "mask": 3, "position": 5, "kind": 6,
    "before": 8, "first": 15, "enlarge": 20, "conv": 20, "attention": 30, "depthwise": 30, "query": 31, "key": 32,
    "value": 33, "gate": 35, "project": 45, "second": 45, "in": 55, "feed": 55, "response": 57, "out": 65,
    "scale": 70, "norm": 75, "last": 76, "merge": 78, "shortcut": 80, "pool": 85, "head": 90,
}  # fmt: skip
"""Where parts usually stand among their siblings."""

_BODY = 50
"""Where what says nothing stands: stages and blocks."""

_CUT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def skeleton(text: str) -> str:
    """Return a name with a sign in the place of each number."""
    return re.sub(r"\d+", "#", text)


@lru_cache(maxsize=2**16)
def meanings(component: str) -> frozenset[str]:
    """Return what one component of a name says; empty if it says nothing known.

    Parameters
    ----------
    component : str
        Between two dots; the numbers in it count as far as they tell first from second.
    """
    words = [word.lower() for word in _CUT.findall(component)]
    phrase = "_".join(word for word in words if not word.isdigit())
    numbers = [int(word) for word in words if word.isdigit()]
    said = _PHRASES.get(phrase)
    if said is None:
        said = " ".join(_WORDS.get(word, "") for word in phrase.split("_"))
    found = set(said.split())
    if len(numbers) == 1 and found:
        found |= _ordinal(found, numbers[0])
    return frozenset(found)


def _ordinal(found: set[str], number: int) -> set[str]:
    if found <= {"feed"}:
        return {1: {"in"}, 2: {"out"}}.get(number, set())
    if number in (1, 2) and "norm" in found:
        return {"first" if number == 1 else "second"}
    return {f"{number}th"}


@lru_cache(maxsize=2**16)
def _said(path: str) -> frozenset[str]:
    """Return what a dotted name says; words that mean nothing known stand for themselves."""
    found: set[str] = set()
    for part in path.split("."):
        found |= meanings(part) or {f"<{part}>"}
    return frozenset(found)


@lru_cache(maxsize=2**18)
def likeness(one: str, other: str) -> float:
    """Say how far two dotted names mean the same, from 0 to 1.

    Parameters
    ----------
    one, other : str
        Without components that are numbers.
    """
    a, b = _said(one), _said(other)
    common = a & b
    if not common:
        return 0.0
    total = sum(_WEIGHT.get(word, 1.0) for word in a | b if not word.startswith("<") or word in common)
    return sum(_WEIGHT.get(word, 1.0) for word in common) / total


@lru_cache(maxsize=2**16)
def place(component: str) -> float:
    """Return where a component of a name usually stands among its siblings."""
    said = meanings(component)
    numbers = [int(word) for word in re.findall(r"\d+", component)]
    number = numbers[0] if len(numbers) == 1 else -1
    if 0 < number < 5 and said & {"norm", "conv"} and not said & {"scale", "depthwise"}:
        return 20.0 * number + ("norm" in said) / 2
    if "query" in said:
        return 31.0
    if "norm" in said and (turn := said & {"first", "second", "before", "last"}):
        return float(max(_PLACES[word] for word in turn))
    if "scale" in said:
        return 39.0 if number == 1 else 70.0
    return float(max((_PLACES[word] for word in said if word in _PLACES), default=_BODY))
