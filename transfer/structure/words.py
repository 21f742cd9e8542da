"""What libraries call the same part of a network, and where such a part usually stands among its siblings.

Only headers of unknown order are read by their words, and only where shapes leave a choice: names that mean nothing
are as good as any. A name is cut into words at dots, underscores, digits and capitals.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["likeness", "meanings", "place", "skeleton"]

_PHRASES = {
    # what one component of a name says, whole
    "q": "query", "query": "query", "queries": "query", "to_q": "query", "wq": "query", "q_lin": "query", "q_proj": "query",
    "query_proj": "query", "linear_q": "query", "k": "key", "key": "key", "keys": "key", "to_k": "key", "wk": "key",
    "k_lin": "key", "k_proj": "key", "key_proj": "key", "linear_k": "key", "v": "value", "value": "value",
    "values": "value", "to_v": "value", "wv": "value", "v_lin": "value", "v_proj": "value", "value_proj": "value",
    "linear_v": "value", "qkv": "query key value", "in_proj": "query key value", "c_attn": "query key value attention",
    "queries_keys_values": "query key value", "query_key_value": "query key value", "to_qkv": "query key value",
    "qkv_proj": "query key value", "wqkv": "query key value", "kv": "key value", "keys_values": "key value",
    "to_kv": "key value", "o": "out", "o_proj": "out", "wo": "out", "to_out": "out", "out_lin": "out",
    "layernorm_before": "norm first", "before_norm": "norm first", "input_layernorm": "norm first",
    "attention_norm": "norm first", "attn_norm": "norm first", "norm_attn": "norm first", "attn_ln": "norm first",
    "self_attn_layer_norm": "norm first", "sa_layer_norm": "norm first", "layernorm_after": "norm second",
    "after_norm": "norm second", "post_attention_layernorm": "norm second", "ffn_norm": "norm second",
    "norm_mlp": "norm second", "norm_ffn": "norm second", "mlp_ln": "norm second", "mlp_norm": "norm second",
    "final_layer_norm": "norm second", "output_layer_norm": "norm second", "ffn_layer_norm": "norm second",
    "norm_pre": "norm before", "pre_layrnorm": "norm before", "pre_layernorm": "norm before", "ln_pre": "norm before",
    "post_layernorm": "norm last", "ln_post": "norm last", "ln_f": "norm last", "final_norm": "norm last",
    "ln_final": "norm last", "fc_norm": "norm last",
    "intermediate": "feed in", "c_fc": "feed in", "wi": "feed in", "up": "feed in", "up_proj": "feed in",
    "linear_up": "feed in", "down": "feed out", "down_proj": "feed out", "linear_down": "feed out",
    "attention_biases": "table", "relative_position_bias_table": "table", "relative_position_bias": "table",
    "visual_projection": "head", "text_projection": "head", "patch_embeddings": "patch", "patch_embedding": "patch",
    "patch_embed": "patch", "conv_proj": "patch", "conv_stem": "patch", "embedder": "patch", "stem": "patch",
    "position_embeddings": "position", "position_embedding": "position", "pos_embedding": "position",
    "pos_embed": "position", "positional_embedding": "position", "absolute_pos_embed": "position",
    "pos_emb": "position", "wpe": "position", "wte": "word", "tok_embeddings": "word", "word_embeddings": "word",
    "embed_tokens": "word", "token_type_embeddings": "kind", "cls_token": "class", "class_token": "class",
    "class_embedding": "class", "cls": "class", "dist_token": "teacher", "distillation_token": "teacher",
    "distillation_classifier": "teacher head", "head_dist": "teacher head", "cls_classifier": "head",
    "mask_token": "mask", "register_tokens": "register", "reg_token": "register",
    "bottleneck": "patch", "depthwise_conv": "depthwise", "dwconv": "depthwise", "conv_dw": "depthwise",
    "conv_pwl": "project", "project_conv": "project", "expand_conv": "enlarge", "conv_pw": "enlarge",
    "conv_exp": "enlarge", "expansion": "enlarge", "projection_context": "context", "projection_in": "in",
    "projection_out": "out",
}  # fmt: skip

_WORDS = {
    # what one word says
    "norm": "norm", "ln": "norm", "layernorm": "norm", "bn": "norm", "batchnorm": "norm", "gn": "norm", "rmsnorm": "norm",
    "normalization": "norm", "layrnorm": "norm", "attention": "attention", "attn": "attention", "mha": "attention",
    "mlp": "feed", "ffn": "feed", "ff": "feed", "feedforward": "feed", "fc": "feed", "lin": "feed", "conv": "conv",
    "convolution": "conv", "output": "out", "out": "out", "proj": "out", "projection": "out", "gamma": "scale", "lambda": "scale",
    "ls": "scale", "scale": "scale", "shortcut": "shortcut", "downsample": "shortcut", "downsampling": "shortcut",
    "identity": "shortcut", "skip": "shortcut", "se": "gate", "squeeze": "gate", "excite": "gate",
    "excitation": "gate", "reduction": "merge", "head": "head", "heads": "head", "classifier": "head", "logits": "head",
    "pooler": "pool", "stem": "patch", "embeddings": "patch", "embed": "patch", "grn": "response", "sr": "reduce",
    "spatial": "reduce", "cpb": "table", "bias": "bias", "logit": "logit", "index": "index", "pwconv": "feed",
    "depthwise": "depthwise", "dw": "depthwise", "expand": "enlarge", "reduce": "project", "top": "head", "dense": "dense",
}  # fmt: skip

_WEIGHT = {"norm": 0.2, "conv": 0.2, "dense": 0.1, "patch": 0.5, "feed": 0.6, "attention": 0.6, "scale": 0.5}
"""What shapes tell anyway says less than the words that tell equal shapes apart."""

_PLACES = {
    "patch": 1, "word": 1, "class": 2, "teacher": 3, "register": 3, "mask": 3, "position": 5, "kind": 6, "before": 8,
    "first": 15, "enlarge": 20, "conv": 20, "query": 31, "key": 32, "value": 33, "attention": 30, "depthwise": 30,
    "gate": 35, "project": 45, "out": 65, "second": 45, "in": 55, "feed": 55, "response": 57, "scale": 70, "norm": 75,
    "last": 76, "shortcut": 80, "merge": 78, "pool": 85, "head": 90,
}  # fmt: skip
_BODY = 50
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
        if phrase in ("layer_norm",):
            said = "norm"
        else:
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
