"""Networks for text and sound: nothing in standardization, matching or transfer is about images.

Small configurations of transformers' families, with random weights. A larger target that can compute what the
source does has to: more layers, wider layers, more words, more positions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import transfer

WIDE = {"h": 96, "a": 6}
"""One and a half times as wide, with heads as wide as before."""

WORDS = torch.randint(1, 90, (2, 12), generator=torch.Generator().manual_seed(5))


def made(kind: str, config: str, **options: Any) -> nn.Module:
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    model: nn.Module = getattr(transformers, kind)(getattr(transformers, config)(**options))
    return model.eval()


def bert(h: int = 64, n: int = 2, a: int = 4, words: int = 100, places: int = 64, inner: int = 256) -> nn.Module:
    return made(
        "BertModel",
        "BertConfig",
        hidden_size=h,
        num_hidden_layers=n,
        num_attention_heads=a,
        intermediate_size=inner,
        vocab_size=words,
        max_position_embeddings=places,
    )


def gpt2(h: int = 64, n: int = 2, a: int = 4, words: int = 100, places: int = 64) -> nn.Module:
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    options = {"n_embd": h, "n_layer": n, "n_head": a, "vocab_size": words, "n_positions": places}
    return made("GPT2LMHeadModel", "GPT2Config", **options, **ends)


def llama(
    h: int = 64, n: int = 2, a: int = 4, words: int = 100, kv: int = 2, inner: int = 128, tied: bool = False
) -> nn.Module:
    return made(
        "LlamaForCausalLM",
        "LlamaConfig",
        hidden_size=h,
        num_hidden_layers=n,
        num_attention_heads=a,
        num_key_value_heads=kv,
        intermediate_size=inner,
        vocab_size=words,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=tied,
    )


def t5(
    h: int = 64, n: int = 2, a: int = 4, words: int = 100, inner: int = 128, kind: str = "relu", tied: bool = True
) -> nn.Module:
    return made(
        "T5ForConditionalGeneration",
        "T5Config",
        d_model=h,
        num_layers=n,
        num_heads=a,
        vocab_size=words,
        d_ff=inner,
        d_kv=16,
        feed_forward_proj=kind,
        tie_word_embeddings=tied,
        decoder_start_token_id=0,
    )


def whisper(h: int = 64, n: int = 2, a: int = 4, words: int = 100) -> nn.Module:
    return made(
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        d_model=h,
        encoder_layers=n,
        decoder_layers=n,
        encoder_attention_heads=a,
        decoder_attention_heads=a,
        encoder_ffn_dim=4 * h,
        decoder_ffn_dim=4 * h,
        vocab_size=words,
        max_source_positions=50,
        max_target_positions=32,
        num_mel_bins=20,
        decoder_start_token_id=0,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )


def wav2vec(h: int = 64, n: int = 2, a: int = 4) -> nn.Module:
    return made(
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        hidden_size=h,
        num_hidden_layers=n,
        num_attention_heads=a,
        intermediate_size=4 * h,
        conv_dim=(32, 32, 32),
        conv_stride=(5, 2, 2),
        conv_kernel=(10, 3, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
    )


MAKERS: dict[str, Callable[..., nn.Module]] = {
    "bert": bert,
    "gpt2": gpt2,
    "llama": llama,
    "t5": t5,
    "whisper": whisper,
    "wav2vec": wav2vec,
}


def changed(model: nn.Module, seed: int = 0) -> nn.Module:
    """Leave no scale at one and no bias at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=generator))
            parameter.add_(0.01 * torch.rand(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def output(model: nn.Module) -> torch.Tensor:
    given = torch.Generator().manual_seed(1)
    match type(model).__name__:
        case "T5ForConditionalGeneration":
            found = model(input_ids=WORDS, decoder_input_ids=WORDS[:, :7])
        case "WhisperForConditionalGeneration":
            sound = torch.randn(2, 20, 100, generator=given)
            found = model(input_features=sound, decoder_input_ids=WORDS[:, :7])
        case "Wav2Vec2Model":
            found = model(torch.randn(2, 2000, generator=given))
        case _:
            found = model(input_ids=WORDS)
    result: torch.Tensor = found.logits if hasattr(found, "logits") else found.last_hidden_state
    return result


def difference(source: nn.Module, target: nn.Module) -> float:
    """The largest, of what the source gives, relative to its largest."""
    expected, found = output(source), output(target)
    n = expected.shape[-1]
    return float((found[..., :n] - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("family", MAKERS)
def test_a_network_gets_all_of_itself(family: str) -> None:
    source, target = changed(MAKERS[family]()), MAKERS[family]()
    report = transfer.transfer(source, target, verify=False)
    assert report.coverage == 1
    assert {row.status for row in report.tensors} == {"copied"}
    assert difference(source, target) == 0
    assert transfer.similarity(source, target) == 1


@pytest.mark.parametrize(
    ("family", "larger", "most"),
    [
        ("gpt2", {"n": 4}, 1e-5),
        ("llama", {"n": 4}, 1e-5),
        ("whisper", {"n": 3}, 1e-5),
        ("t5", {"n": 3}, 1e-5),
        ("t5", {"n": 4, "tied": False}, 1e-5),
        ("llama", {"inner": 192}, 1e-5),
        ("bert", {"inner": 384}, 1e-5),
        ("t5", {"inner": 192}, 1e-5),
        ("t5", {"inner": 192, "kind": "gated-gelu"}, 1e-5),
        ("t5", {**WIDE, "tied": False}, 1e-5),
        ("llama", {"kv": 4}, 1e-5),  # keys of their own for every head of queries
        ("llama", {"kv": 4, "n": 3, "inner": 192}, 1e-5),
        ("llama", {**WIDE, "kv": 3}, 1e-3),  # but for the epsilon of norms
        ("llama", {"h": 128, "a": 8, "kv": 4}, 1e-3),
        ("gpt2", WIDE, 5e-3),
    ],
    ids=str,
)
def test_a_larger_network_computes_the_same(family: str, larger: dict[str, Any], most: float) -> None:
    same = {key: value for key, value in larger.items() if key in ("kind", "tied")}
    source, target = changed(MAKERS[family](**same)), MAKERS[family](**larger)
    transfer.transfer(source, target, verify=False)
    assert difference(source, target) < most


def test_a_wider_t5_with_a_tied_head_differs_by_the_factor_that_its_code_divides_by() -> None:
    source, target = changed(t5()), t5(**WIDE)
    transfer.transfer(source, target, verify=False)
    torch.testing.assert_close(output(target) * (96 / 64) ** 0.5, output(source), rtol=1e-4, atol=1e-5)


def test_an_encoder_and_a_decoder_are_no_towers_of_a_network_that_has_both() -> None:
    source, target = changed(t5()), t5(n=3)
    rows = {row.name: row for row in transfer.plan(source, target).tensors}
    for name in source.state_dict():
        assert rows[name].source == name or rows[name].tied_to, name


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "whisper"])
@pytest.mark.parametrize("n_words", [150, 95])
def test_words_that_both_know_are_kept(family: str, n_words: int) -> None:
    source, target = changed(MAKERS[family]()), MAKERS[family](words=n_words)
    fresh = MAKERS[family](words=n_words)
    fresh.load_state_dict(target.state_dict())
    transfer.transfer(source, target, verify=False)
    n = min(n_words, 100)
    for name, table in source.state_dict().items():
        if table.shape[0] == 100 and table.dim() == 2:
            own = target.state_dict()[name]
            assert torch.equal(own[:n], table[:n]), name
            if n_words > 100:
                assert torch.equal(own[100:], fresh.state_dict()[name][100:]), name
    expected, found = output(source), output(target)
    if expected.shape[-1] == 100:  # logits
        expected, found = expected[..., :n], found[..., :n]
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("n_places", [96, 48])
def test_tables_of_places_are_kept_as_far_as_both_go(family: str, n_places: int) -> None:
    source, target = changed(MAKERS[family]()), MAKERS[family](places=n_places)
    transfer.transfer(source, target, verify=False)
    assert difference(source, target) < 1e-6


def test_tied_heads_stay_tied() -> None:
    source, target = changed(llama(tied=True)), llama(tied=True, n=3)
    transfer.transfer(source, target, verify=False)
    tables = target.get_parameter("model.embed_tokens.weight"), target.get_parameter("lm_head.weight")
    assert tables[0] is tables[1]
    assert difference(source, target) < 1e-5


def test_layers_after_each_other_are_no_layers_side_by_side() -> None:
    """The output of an attention and the gate behind it, 64 + 128, are not a gate of 192."""
    source, target = changed(llama()), llama(inner=192)
    plan = transfer.plan(source, target)
    assert not [row.name for row in plan.tensors if row.operator == "by part"]
