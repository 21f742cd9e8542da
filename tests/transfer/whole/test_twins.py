"""Networks that exist in two libraries: what one computes the other computes after a transfer.

Both are built with random weights, every tensor of the source is changed, and outputs are compared; from a module
and from a bare file sorted by name. Where the two codes compute something else whatever the weights, it is said
here what differs, and some tensors are compared one by one.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from twins import (
    FAST,
    GPT,
    ONE_SIDED,
    PAIRS,
    Maker,
    changed,
    classifier,
    hugging,
    output,
    timm,
    with_one_epsilon,
)

import transfer
from transfer.tracing.usage import trace_usage


def moved(source: nn.Module, target: nn.Module, folder: Path | None) -> transfer.TransferReport:
    if folder is None:
        return transfer.transfer(source, target, verify=False)
    state = {name: tensor.clone().contiguous() for name, tensor in source.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return transfer.transfer(folder / "model.safetensors", target, verify=False)


def parameters(fast: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in PAIRS]


@torch.no_grad()
@pytest.mark.parametrize("from_file", [False, True], ids=["module", "file"])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("name", parameters(FAST))
def test_a_twin_computes_what_its_source_does(name: str, back: bool, from_file: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other, shape = PAIRS[name]
    makers = (other, one) if back else (one, other)
    source, target = with_one_epsilon(changed(makers[0]())), with_one_epsilon(makers[1]())
    if name == "hf-clip" and back:
        source.head.bias.zero_()  # CLIP's projection has none
    report = moved(source, target, tmp_path if from_file else None)
    left = [row.name for row in report.tensors if row.status != "copied" and not row.name.endswith(ONE_SIDED)]
    assert [row for row in left if row != "head.bias"] == []
    x = torch.randn(2, *shape)
    expected = output(source, x)
    difference = float((output(target.eval(), x) - expected).abs().max() / expected.abs().max())
    assert difference < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("from_file", [False, True], ids=["module", "file"])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_poolformers_pool_before_their_last_norm_or_after(back: bool, from_file: bool, tmp_path: Path) -> None:
    """timm normalizes the mean over the image, transformers takes the mean of what it has normalized."""
    torch.manual_seed(0)
    ours = changed(classifier("PoolFormerForImageClassification", "PoolFormerConfig"))
    theirs = changed(timm("poolformer_s12"))
    source, target = (theirs, ours) if back else (ours, theirs)
    report = moved(source, target, tmp_path if from_file else None)
    assert {row.status for row in report.tensors} == {"copied"}
    one, other = ours.state_dict(), theirs.state_dict()
    blocks = [(stage, i) for stage, n in enumerate((2, 2, 6, 2)) for i in range(n)]
    counterparts = {
        "poolformer.encoder.patch_embeddings.0.projection.weight": "stem.conv.weight",
        "classifier.weight": "head.fc.weight",
    }
    for stage in (1, 2, 3):
        counterparts[f"poolformer.encoder.patch_embeddings.{stage}.projection.weight"] = (
            f"stages.{stage}.downsample.conv.weight"
        )
    for stage, i in blocks:
        own, its = f"poolformer.encoder.block.{stage}.{i}", f"stages.{stage}.blocks.{i}"
        counterparts |= {
            f"{own}.before_norm.weight": f"{its}.norm1.weight",
            f"{own}.after_norm.bias": f"{its}.norm2.bias",
            f"{own}.layer_scale_1": f"{its}.layer_scale1.scale",
            f"{own}.layer_scale_2": f"{its}.layer_scale2.scale",
            f"{own}.output.conv1.weight": f"{its}.mlp.fc1.weight",
            f"{own}.output.conv2.bias": f"{its}.mlp.fc2.bias",
        }
    for name, counterpart in counterparts.items():
        assert torch.equal(one[name].flatten(), other[counterpart].flatten()), name


class Attention(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.qkv, self.proj = n_heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = (t.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        found = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        result: torch.Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return result


class PlainBlock(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(width), Attention(width, n_heads)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before_attention(x))
        result: torch.Tensor = x + self.mlp(self.before_mlp(x))
        return result


class PlainGPT(nn.Module):
    """With linear layers, where transformers' GPT-2 keeps its weights transposed."""

    def __init__(self) -> None:
        super().__init__()
        width = GPT["n_embd"]
        self.tokens, self.places = nn.Embedding(GPT["vocab_size"], width), nn.Embedding(GPT["n_positions"], width)
        self.blocks = nn.ModuleList(PlainBlock(width, GPT["n_head"]) for _ in range(GPT["n_layer"]))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, GPT["vocab_size"], bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        result: torch.Tensor = self.head(self.norm(x))
        return result


def gpt2() -> nn.Module:
    return hugging("GPT2LMHeadModel", "GPT2Config", bos_token_id=0, eos_token_id=0, **GPT)


def bert_encoder() -> nn.Module:
    transformers = importlib.import_module("transformers")
    kind = importlib.import_module("transformers.models.bert.modeling_bert").BertEncoder
    config = transformers.BertConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=384,
        attn_implementation="sdpa",
    )
    model: nn.Module = kind(config)
    return model


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(96, 3, 384, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


TOKENS = torch.randint(0, 500, (2, 32), generator=torch.Generator().manual_seed(0))
EMBEDDED = torch.randn(2, 10, 96, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize(
    ("one", "other", "x"), [(gpt2, PlainGPT, TOKENS), (bert_encoder, torch_encoder, EMBEDDED)], ids=["gpt2", "bert"]
)
def test_transformers_of_plain_torch_are_twins_too(one: Maker, other: Maker, x: torch.Tensor, back: bool) -> None:
    torch.manual_seed(0)
    makers = (other, one) if back else (one, other)
    source, target = with_one_epsilon(changed(makers[0]())), with_one_epsilon(makers[1]())
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors} == {"copied"}
    assert report.function is not None
    assert report.function.verdict == "equal"
    expected = output(source, x)
    torch.testing.assert_close(output(target, x), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


class Parts(nn.Module):
    """A block of attention with few heads for keys and values and a gated MLP; parts are layers, or together."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        widths = {"qkv": [64]} if fused else {"q": [32], "k": [16], "v": [16]}
        widths |= {"gate_up": [192]} if fused else {"gate": [96], "up": [96]}
        for name, (width,) in widths.items():
            self.add_module(name, nn.Linear(32, width))
        self.out, self.down = nn.Linear(32, 32), nn.Linear(96, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        q, k, v = self.qkv(y).split([32, 16, 16], -1) if hasattr(self, "qkv") else (self.q(y), self.k(y), self.v(y))
        q, k, v = (t.unflatten(2, (-1, 8)).transpose(1, 2) for t in (q, k, v))
        k, v = (t.repeat_interleave(2, 1) for t in (k, v))
        weights = (q @ k.mT * 8**-0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        y = self.norm2(x)
        gate, up = self.gate_up(y).chunk(2, -1) if hasattr(self, "gate_up") else (self.gate(y), self.up(y))
        return x + self.down(nn.functional.silu(gate) * up)


def parts(fused: bool) -> nn.Module:
    return nn.Sequential(nn.Linear(12, 32), *(Parts(fused) for _ in range(3)), nn.LayerNorm(32))


@torch.no_grad()
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_maps_are_cut_into_layers_of_unequal_width(back: bool) -> None:
    torch.manual_seed(0)
    source, target = changed(parts(back)).eval(), parts(not back).eval()
    report = moved(source, target, None)
    assert {row.status for row in report.tensors} == {"copied"}
    x = torch.randn(2, 16, 12)
    torch.testing.assert_close(target(x), source(x), rtol=0, atol=1e-5)


class Unit(nn.Module):
    """An inverted residual, whose names leave out the first where it does not widen."""

    def __init__(self, width: int, names: tuple[str, ...], widens: bool) -> None:
        super().__init__()
        inner = 4 * width if widens else width
        layers = [nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner)] if widens else []
        layers += [nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False), nn.BatchNorm2d(inner)]
        layers += [nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.names = names[-len(layers) :]
        for name, layer in zip(self.names, layers, strict=True):
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for name in self.names:
            y = self.get_submodule(name)(y)
        return x + y


def units(*names: str) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), *(Unit(16, names, i > 0) for i in range(4)))


@torch.no_grad()
def test_norms_of_a_sorted_file_may_be_counted_from_zero(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = changed(units("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")).eval()
    target = units("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3").eval()
    moved(source, target, tmp_path)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target(x), source(x))


class Windows(nn.Module):
    """Remembers the smaller of its window and its image, and fails if its table is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.window = 200
        self.after, self.before = nn.LayerNorm(8), nn.LayerNorm(8)
        self.patches = nn.Conv2d(3, 8, 7, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.window = min(self.window, x.shape[-1])
        if self.window < 200:
            raise ValueError("the table is that of another window")
        x = self.patches(x).flatten(2).mT
        return self.after(self.before(x).square())


def test_a_network_that_remembers_an_example_is_tried_anew() -> None:
    usage = trace_usage(Windows())
    assert usage is not None
    assert [name for name in usage.order if name.endswith("weight")] == [
        "patches.weight",
        "before.weight",
        "after.weight",
    ]


class Stem(nn.Module):
    """A stem whose last norm stands outside of the container of its convolutions, and what follows."""

    def __init__(self, outside: bool) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False)]
        layers += [nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)]
        self.stem = nn.Sequential(*layers[: 8 - outside])
        self.norm = layers[7] if outside else nn.Identity()
        self.blocks = nn.Sequential(*(Unit(16, ("a", "b", "c", "d", "e", "f"), True) for _ in range(3)))
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.blocks(self.norm(self.stem(x)).relu()).mean((2, 3)))
        return found


@torch.no_grad()
@pytest.mark.parametrize("outside", [False, True])
def test_a_norm_that_is_copied_is_not_folded_too(outside: bool) -> None:
    torch.manual_seed(0)
    source, target = changed(Stem(outside)).eval(), Stem(not outside).eval()
    report = moved(source, target, None)
    assert {row.operator for row in report.tensors} == {"copy"}
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target(x), source(x))


class Projected(nn.Module):
    """Ends in a projection without bias: a bare matrix, as CLIP's, or a linear layer."""

    def __init__(self, width: int, is_bare: bool) -> None:
        super().__init__()
        self.parts = ("trunk", "ln_post") if is_bare else ("layers", "post_layernorm")
        self.add_module(
            self.parts[0], nn.Sequential(nn.Linear(12, 24), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, 24))
        )
        self.add_module(self.parts[1], nn.LayerNorm(24))
        if is_bare:
            self.proj = nn.Parameter(torch.randn(24, width))
        else:
            self.visual_projection = nn.Linear(24, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.parts:
            x = self.get_submodule(name)(x)
        found: torch.Tensor = x @ self.proj if hasattr(self, "proj") else self.visual_projection(x)
        return found


@torch.no_grad()
@pytest.mark.parametrize("from_file", [False, True], ids=["module", "file"])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("width", [8, 24])
def test_a_bare_matrix_has_its_inputs_first(width: int, back: bool, from_file: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = changed(Projected(width, not back)), Projected(width, back)
    report = moved(source, target, tmp_path if from_file else None)
    assert {row.status for row in report.tensors} == {"copied"}
    x = torch.randn(5, 12)
    torch.testing.assert_close(target(x), source(x), rtol=0, atol=1e-5)
