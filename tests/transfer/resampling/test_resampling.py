"""Positions, tables, patches and input channels are brought to size as timm does it."""

from __future__ import annotations

import subprocess
import sys
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed, resample_abs_pos_embed_nhwc, resample_patch_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table, resize_rel_pos_bias_table_levit
from timm.models import adapt_input_conv
from timm.models.nest import resize_pos_embed as resize_nest
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import nn
from torch.nn import functional

import transfer
from transfer.operators import channel_fill
from transfer.options import Options
from transfer.resampling.grids import find_grid
from transfer.resampling.inputs import input_layers, is_patch_kernel
from transfer.resampling.recognition import Geometry, Resampling, resampling
from transfer.resampling.transforms import AdaptChannels, Chain, ResamplePatches
from transfer.structure.records import Architecture, Layer, Tensor
from zoo_index.catalogues.timm_catalogue import build

pytestmark = [  # timm's interpolation of bias tables
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence"),
    pytest.mark.filterwarnings("ignore:.*input value tensor is non-contiguous"),
]

VIT = "vit_tiny_patch16_224"


def architecture(**parameters: tuple[int, ...]) -> Architecture:
    """A network of one patch embedding and bare parameters."""
    header = {name: torch.empty(shape, device="meta") for name, shape in parameters.items()}
    return transfer.standardize({"patch.weight": torch.empty(8, 3, 4, 4, device="meta"), **header})


def bare(network: Architecture, role: str) -> tuple[Tensor, Layer]:
    return next((t, layer) for layer in network.layers() for t in layer.tensors if t.name.endswith(role))


def decide(
    source: Architecture, target: Architecture, name: str, other: str = "", **options: Any
) -> Resampling | None:
    (a, source_layer), (b, target_layer) = bare(source, name), bare(target, other or name)
    return resampling(a, b, source_layer, target_layer, source, target, **options)


def between(
    source: dict[str, tuple[int, ...]], target: dict[str, tuple[int, ...]], **options: Any
) -> Resampling | None:
    return decide(architecture(**source), architecture(**target), "pos_embed", **options)


def resampled(source: nn.Module, target: nn.Module, name: str) -> torch.Tensor:
    """Carry out what is decided for a tensor of two live networks."""
    found = decide(transfer.standardize(source), transfer.standardize(target), name)
    assert found is not None
    key = next(key for key in source.state_dict() if key.endswith(name))
    value = source.state_dict()[key]
    before = value.clone()
    result = found.transform(value)
    assert torch.equal(value, before)
    assert tuple(result.shape) == found.shape
    return result


def timm_model(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(name, device="cpu", **options)


# positions


@pytest.mark.parametrize("side", [160, 384])
@pytest.mark.parametrize(
    "options", [{}, {"class_token": False, "global_pool": "avg"}, {"reg_tokens": 4}, {"no_embed_class": True}]
)
def test_positions_are_resampled_as_timm_loads_them(side: int, options: dict[str, Any]) -> None:
    source = timm_model(VIT, depth=1, **options)
    target = timm_model(VIT, depth=1, img_size=side, **options)
    expected = checkpoint_filter_fn(source.state_dict(), target)["pos_embed"]
    torch.testing.assert_close(resampled(source, target, "pos_embed"), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("n_tokens", "old", "new"), [(0, 14, 7), (1, 14, 24), (2, 7, 16), (5, 12, 10), (1, 1, 3)])
def test_class_tokens_and_registers_are_kept(n_tokens: int, old: int, new: int) -> None:
    tokens = {0: {}, 1: {"cls": (1, 1, 6)}, 2: {}, 5: {"cls_token": (6,), "register_tokens": (4, 6)}}[n_tokens]
    found = between(
        {**tokens, "pos_embed": (1, n_tokens + old * old, 6)}, {**tokens, "pos_embed": (1, n_tokens + new * new, 6)}
    )
    value = torch.randn(1, n_tokens + old * old, 6)
    assert found is not None
    expected = resample_abs_pos_embed(value, [new, new], num_prefix_tokens=n_tokens)
    torch.testing.assert_close(found.transform(value), expected, atol=1e-6, rtol=0)
    assert torch.equal(found.transform(value)[:, :n_tokens], value[:, :n_tokens])


def test_tokens_that_only_one_side_has_are_left_out() -> None:
    source, target = (
        architecture(cls_token=(1, 1, 6), pos_embed=(1, 17, 6)),
        architecture(reg_token=(1, 4, 4), class_token=(1, 1, 4), pos_embed=(1, 41, 4)),
    )
    found = decide(source, target, "pos_embed")
    assert found is not None
    assert found.shape == (1, 37, 6)
    assert found.spans == ((0, 4, 37),)
    (given_tensor, _), (tensor, layer) = bare(source, "pos_embed"), bare(target, "pos_embed")
    fill = found.adjust(channel_fill(found.result(given_tensor), tensor, layer))
    assert fill.operator == "resample positions"
    assert [(r.source_start, r.target_start, r.size) for r in fill.regions] == [((0, 0, 0), (0, 4, 0), (1, 37, 4))]
    back = decide(target, source, "pos_embed")
    value = torch.randn(1, 41, 4)
    assert back is not None
    assert back.spans == ()
    assert torch.equal(back.transform(value)[:, 0], value[:, 4])


def test_registers_between_class_token_and_places_make_two_spans() -> None:
    found = between(
        {"cls_token": (1, 1, 6), "pos_embed": (1, 17, 6)},
        {"cls_token": (1, 1, 6), "reg_token": (1, 4, 6), "pos_embed": (1, 41, 6)},
    )
    assert found is not None
    assert found.spans == ((0, 0, 1), (1, 5, 36))


def test_a_class_token_alone_does_not_change_the_places() -> None:
    found = between({"cls_token": (1, 1, 6), "pos_embed": (1, 17, 6)}, {"pos_embed": (1, 16, 6)})
    value = torch.randn(1, 17, 6)
    assert found is not None
    assert torch.equal(found.transform(value), value[:, 1:])


def test_planes_are_resampled_and_change_their_layout() -> None:
    value = torch.randn(1, 8, 8, 5)
    found = between({"pos_embed": (1, 8, 8, 5)}, {"pos_embed": (1, 12, 12, 7)})
    assert found is not None
    assert found.shape == (1, 12, 12, 5)
    expected = resample_abs_pos_embed_nhwc(value, [12, 12])
    torch.testing.assert_close(found.transform(value), expected, atol=1e-6, rtol=0)
    first = between({"pos_embed": (1, 8, 8, 5)}, {"pos_embed": (1, 7, 12, 12)})
    assert first is not None
    torch.testing.assert_close(first.transform(value), expected.permute(0, 3, 1, 2), atol=1e-6, rtol=0)
    flat = between({"pos_embed": (1, 8, 8, 5)}, {"pos_embed": (145, 5)})
    assert flat is not None
    torch.testing.assert_close(flat.transform(value), expected.reshape(144, 5), atol=1e-6, rtol=0)
    assert flat.spans == ((0, 1, 144),)


def test_blocks_of_places_are_resampled_as_one_image() -> None:
    value, old = torch.randn(1, 16, 4, 5), torch.empty(1, 16, 9, 5)
    found = between({"pos_embed": (1, 16, 4, 5)}, {"pos_embed": (1, 16, 9, 5)})
    assert found is not None
    torch.testing.assert_close(  # timm does without antialiasing here; growing is the same but at the border
        found.transform(value).mean(), resize_nest(value, old).mean(), atol=0.02, rtol=0
    )
    whole = value.reshape(4, 4, 2, 2, 5).transpose(1, 2).reshape(1, 8, 8, 5)
    blocks = (
        resample_abs_pos_embed_nhwc(whole, [12, 12]).reshape(4, 3, 4, 3, 5).transpose(1, 2).reshape(1, 16, 9, 5)
    )
    torch.testing.assert_close(found.transform(value), blocks, atol=1e-6, rtol=0)


def test_grids_that_are_not_square_need_to_be_known() -> None:
    source, target = {"pos_embed": (1, 17, 6)}, {"pos_embed": (1, 4 * 13 + 1, 6)}
    assert between(source, target) is None
    found = between(source, target, target_geometry=Geometry(grid=(4, 13)))
    value = torch.randn(1, 17, 6)
    assert found is not None
    expected = resample_abs_pos_embed(value, [4, 13])
    torch.testing.assert_close(found.transform(value), expected, atol=1e-6, rtol=0)


def test_positions_of_a_sequence_are_no_grid() -> None:
    text = [
        transfer.standardize({"pos_embed": torch.empty(1, n, 6), "0.weight": torch.empty(6, 6)}) for n in (64, 256)
    ]
    assert decide(text[0], text[1], "pos_embed") is None


@pytest.mark.parametrize(
    ("name", "n"),
    [
        (VIT, 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("vit_so150m_patch16_reg4_map_256", 4),
        ("vit_dpwee_patch16_reg1_gap_256", 0),
        ("test_vit", 1),
        ("resnet50_clip", 1),
        ("pit_ti_224", 0),
        ("cait_xxs24_224", 0),
    ],
)
def test_prefix_tokens_are_counted(name: str, n: int) -> None:
    network = transfer.standardize(build(name))
    tensor, _ = bare(network, "pos_embed")
    grid = find_grid(tensor, network)
    assert grid is not None
    assert len(grid.before) == n


# relative positions


@pytest.mark.parametrize("window", [4, 8, 12])
def test_swin_tables_are_resized_as_timm_does(window: int) -> None:
    source, target = (
        timm_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), window_size=size) for size in (7, window)
    )
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    expected = resize_rel_pos_bias_table(source.state_dict()[name], (window, window), ((2 * window - 1) ** 2, 3))
    torch.testing.assert_close(resampled(source, target, name), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [160, 320])
def test_beit_tables_keep_the_biases_of_the_class_token(side: int) -> None:
    source, target = (timm_model("beit_base_patch16_224", depth=1, img_size=size) for size in (224, side))
    for value in source.state_dict().values():
        value.add_(torch.randn(value.shape) if value.is_floating_point() else 0)
    name, n = "relative_position_bias_table", side // 16
    value = source.state_dict()[f"blocks.0.attn.{name}"]
    expected = resize_rel_pos_bias_table(value, (n, n), ((2 * n - 1) ** 2 + 3, 12))
    torch.testing.assert_close(resampled(source, target, name), expected, atol=1e-4, rtol=1e-5)
    without = architecture(relative_position_bias_table=((2 * n - 1) ** 2, 12))
    dropped = decide(transfer.standardize(source), without, name)
    added = decide(without, transfer.standardize(source), name)
    assert dropped is not None
    assert added is not None
    assert (dropped.shape, dropped.spans) == (((2 * n - 1) ** 2, 12), ())
    assert (added.shape, added.spans) == ((729, 12), ((0, 0, 729),))


@pytest.mark.parametrize(
    ("role", "source", "target"),
    [
        ("relative_position_bias_table", (2, 13, 13), (4, 23, 15)),
        ("attention_biases", (4, 49), (8, 144)),
        ("rel_pos_h", (13, 6), (27, 8)),
        ("width_rel", (31, 6), (15, 6)),
        ("pos_emb", (15, 15, 4), (23, 23, 4)),
        ("pos_embed", (1, 6, 7, 7), (1, 6, 9, 9)),
        ("positional_embedding", (50, 6), (197, 8)),
        ("pos_embed", (17, 1, 6), (1, 37, 6)),
    ],
)
def test_other_forms(role: str, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    found = decide(architecture(**{role: source}), architecture(**{role: target}), role)
    assert found is not None
    value = torch.randn(source)
    result = found.transform(value)
    assert tuple(result.shape) == found.shape
    oracle: torch.Tensor | None = None
    if role == "relative_position_bias_table":
        oracle = resize_rel_pos_bias_table(value, (12, 8), target)
    elif role == "attention_biases":
        oracle = resize_rel_pos_bias_table_levit(value.T, (144, 4)).T
    elif len(source) == 2 and role != "positional_embedding":
        oracle = functional.interpolate(value.T[None], target[0], mode="linear")[0].T
    if oracle is not None:
        torch.testing.assert_close(result, oracle, atol=1e-5, rtol=0)
    constant = found.transform(torch.full(source, 0.5))
    torch.testing.assert_close(constant, torch.full_like(constant, 0.5))


def test_integer_tables_and_tokens_are_none_of_these() -> None:
    network = architecture(attention_bias_idxs=(49, 49), cls_token=(1, 1, 6), post_scale=(16, 4), two=(2, 100, 6))
    assert [t.name for t in network.tensors() if find_grid(t, network)] == []
    rows = Tensor("position_embedding_table", (2, 10240, 6))
    assert find_grid(rows, network) is None


# patches, kernels and input channels


@pytest.mark.parametrize(("old", "new"), [(16, 32), (16, 8), (14, 16), (4, 2)])
def test_patch_embeddings_are_resized_as_flexivit_does(old: int, new: int) -> None:
    source, target = (timm_model(VIT, depth=1, patch_size=size, img_size=size * 2) for size in (old, new))
    weight = source.state_dict()["patch_embed.proj.weight"]
    expected = resample_patch_embed(weight, [new, new])
    torch.testing.assert_close(resampled(source, target, "proj.weight"), expected, atol=1e-6, rtol=0)


def test_a_resized_patch_embedding_embeds_enlarged_images_alike() -> None:
    weight, image = torch.randn(5, 3, 4, 4), torch.randn(2, 3, 4, 4)
    larger = functional.interpolate(image, (8, 8), mode="bicubic", antialias=True)
    expected = functional.conv2d(image, weight)
    found = functional.conv2d(larger, ResamplePatches((8, 8))(weight))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride", "is_patch"),
    [
        ((16, 16), None, True),
        ((14, 14), None, True),
        ((4, 4), None, True),
        ((2, 2), None, True),
        ((3, 3), None, False),
        ((7, 7), None, False),
        ((1, 1), None, False),
        ((4, 3), None, False),
        ((7, 7), (7, 7), True),
        ((16, 16), (8, 8), False),
    ],
)
def test_patches_are_told_from_overlapping_kernels(
    size: tuple[int, int], stride: tuple[int, int] | None, is_patch: bool
) -> None:
    assert is_patch_kernel(size, stride) is is_patch


@pytest.mark.parametrize("n", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_input_channels_are_adapted_as_timm_does(name: str, n: int) -> None:
    source = timm_model(name)
    given_networks = transfer.standardize(source), transfer.standardize(build(name, in_chans=n))
    (tensor, _), *others = [
        (t, found)
        for layers in zip(*(network.layers() for network in given_networks), strict=True)
        for s, t in zip(*(layer.tensors for layer in layers), strict=True)
        if (found := resampling(s, t, *layers, *given_networks)) is not None
    ]
    assert others == []
    weight = source.state_dict()[tensor.name]
    found = decide(*given_networks, tensor.name)
    assert found is not None
    assert found.operator == "adapt input channels"
    torch.testing.assert_close(found.transform(weight), adapt_input_conv(n, weight))


@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 6), (4, 1), (1, 5), (2, 8), (12, 1)])
def test_grey_images_give_the_same_response(old: int, new: int) -> None:
    weight, image = torch.randn(5, old, 3, 3), torch.randn(2, 1, 9, 9)
    expected = functional.conv2d(image.expand(-1, old, -1, -1), weight)
    found = functional.conv2d(image.expand(-1, new, -1, -1), AdaptChannels(new)(weight))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_patches_and_channels_are_adapted_together() -> None:
    source = timm_model(VIT, depth=1)
    target = build(VIT, depth=1, patch_size=8, in_chans=1)
    weight = source.state_dict()["patch_embed.proj.weight"]
    found = decide(transfer.standardize(source), transfer.standardize(target), "proj.weight")
    assert found is not None
    assert isinstance(found.transform, Chain)
    assert found.operator == "adapt input channels, resample patches"
    expected = resample_patch_embed(weight.sum(1, keepdim=True), [8, 8])
    torch.testing.assert_close(found.transform(weight), expected, atol=1e-5, rtol=0)


def test_pixels_of_space_to_depth_are_adapted_one_by_one() -> None:
    source, target = timm_model("tresnet_m"), build("tresnet_m", in_chans=1)
    name = "body.conv1.conv.weight"
    weight = source.state_dict()[name]
    found = decide(transfer.standardize(source), transfer.standardize(target), name)
    assert found is not None
    torch.testing.assert_close(found.transform(weight), adapt_input_conv(1, weight))


@pytest.mark.parametrize(
    ("name", "options", "paths"),
    [
        ("resnext50_32x4d", {"in_chans": 4}, {"conv1"}),
        ("mobilenetv2_100", {"in_chans": 1}, {"conv_stem"}),
        ("crossvit_9_240", {}, {"patch_embed.0.proj", "patch_embed.1.proj"}),
        ("repvgg_a0", {}, {"stem.conv_kxk.conv", "stem.conv_1x1.conv"}),
        ("mixer_s32_224", {}, {"stem.proj"}),
    ],
)
def test_input_layers(name: str, options: dict[str, Any], paths: set[str]) -> None:
    assert {layer.path for layer in input_layers(transfer.standardize(build(name, **options)))} == paths


def test_kernels_keep_their_middle() -> None:
    def network(n: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, n, groups=4))

    for n_source, n_target in ((5, 3), (3, 5)):
        source, target = network(n_source), network(n_target)
        assert decide(transfer.standardize(source), transfer.standardize(target), "1.weight") is None
        transfer.transfer(source, target)
        smaller, larger = sorted((source[1].weight, target[1].weight), key=torch.Tensor.numel)
        assert torch.equal(smaller, larger[:, :, 1:4, 1:4])


# every transform


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_are_kept_and_computed_in_single_precision(dtype: torch.dtype) -> None:
    positions = between({"pos_embed": (1, 17, 6)}, {"pos_embed": (1, 37, 6)})
    assert positions is not None
    for transform, shape in (
        (positions.transform, (1, 17, 6)),
        (ResamplePatches((8, 8)), (2, 3, 16, 16)),
        (AdaptChannels(2), (2, 3, 3, 3)),
    ):
        value = torch.randn(shape).to(dtype)
        result = transform(value)
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), transform(value.float()).to(dtype).float(), atol=1e-6, rtol=0.01)
        assert transform(torch.full(shape, torch.nan, dtype=dtype)).shape == result.shape


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s", "resnet18"])
def test_nothing_happens_between_equal_networks(name: str) -> None:
    network = transfer.standardize(build(name))
    for layer in network.layers():
        for tensor in layer.tensors:
            assert resampling(tensor, tensor, layer, layer, network, network) is None


def test_channels_alone_are_no_matter_of_resampling() -> None:
    tokens = {"cls_token": (1, 1, 6), "pos_embed": (1, 17, 6)}
    assert between(tokens, {"cls_token": (1, 1, 4), "pos_embed": (1, 17, 4)}) is None
    assert between({"pos_embed": (1, 8, 8, 5)}, {"pos_embed": (1, 8, 8, 7)}) is None


ROLES = [
    "pos_embed",
    "relative_position_bias_table",
    "rel_pos_h",
    "attention_biases",
    "pos",
    "weight",
    "cls_token",
    "",
]
SIDES = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 25, 28, 50, 81])
SHAPES = st.one_of(
    st.lists(SIDES, max_size=5).map(tuple),
    st.tuples(st.just(1), SIDES, SIDES),
    st.tuples(st.just(1), SIDES, SIDES, SIDES),
)
TOKENS = st.lists(st.tuples(st.sampled_from(["cls_token", "reg_token", "dist", "mask_token"]), SHAPES), max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    role=st.sampled_from(ROLES),
    shapes=st.tuples(SHAPES, SHAPES),
    tokens=TOKENS,
    grid=st.none() | st.tuples(SIDES, SIDES),
)
def test_whatever_the_shapes_the_promised_one_results(
    role: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    tokens: list[tuple[str, tuple[int, ...]]],
    grid: tuple[int, int] | None,
) -> None:
    networks, layers = [], []
    for shape in shapes:
        tensor = Tensor(role, shape)
        kind = f"conv{len(shape) - 2}d" if role == "weight" else f"parameter:{role}"
        layer = Layer(kind, (tensor,))
        others = [Layer(f"parameter:{r}", (Tensor(r, s),)) for r, s in tokens]
        stem = Layer("conv2d", (Tensor("weight", (8, 3, 3, 3)),))
        networks.append(Architecture("dpiat", (*others, layer, stem)))
        layers.append(layer)
    (a,), (b,) = layers[0].tensors, layers[1].tensors
    found = resampling(a, b, *layers, *networks, target_geometry=Geometry(grid=grid))
    if found is None:
        return
    assert prod(found.shape) > 0
    result = found.transform(torch.randn(shapes[0]))
    assert tuple(result.shape) == found.shape
    fill = found.adjust(channel_fill(found.result(a), b, layers[1]))
    for region in fill.regions:
        for start, target_start, size, n_given, n in zip(
            region.source_start, region.target_start, region.size, found.shape, shapes[1], strict=True
        ):
            assert 0 <= start <= start + size <= n_given
            assert 0 <= target_start <= target_start + size <= n


def test_planning_does_not_import_torch() -> None:
    code = "import sys, transfer.resampling.recognition; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_transformer_takes_images_of_another_size_as_with_timm() -> None:
    source = build("vit_tiny_patch16_224", device="cpu", depth=2)
    target = build("vit_tiny_patch16_224", device="cpu", depth=2, img_size=160)
    report = transfer.transfer(source, target)
    row = {row.name: row for row in report.tensors}["pos_embed"]
    assert (row.status, row.operator) == ("resampled", "resample positions")
    expected = resample_abs_pos_embed(source.pos_embed, new_size=[10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(target.pos_embed, expected, atol=1e-6, rtol=0)


def test_a_wider_transformer_of_another_size_gets_both() -> None:
    source = build("vit_tiny_patch16_224", device="cpu", depth=1)
    target = build("vit_small_patch16_224", device="cpu", depth=1, img_size=160)
    row = {row.name: row for row in transfer.transfer(source, target).tensors}["pos_embed"]
    assert row.status == "resampled"
    expected = resample_abs_pos_embed(source.pos_embed, new_size=[10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(target.pos_embed[..., :192], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_channels", [1, 4, 6])
def test_a_stem_takes_any_number_of_channels_as_with_timm(n_channels: int) -> None:
    source, target = build("resnet18", device="cpu"), build("resnet18", device="cpu", in_chans=n_channels)
    report = transfer.transfer(source, target)
    assert {row.name: row.operator for row in report.tensors}["conv1.weight"] == "adapt input channels"
    expected = adapt_input_conv(n_channels, source.conv1.weight.detach().clone())
    torch.testing.assert_close(target.conv1.weight, expected)


def test_a_larger_window_takes_the_table_as_with_timm() -> None:
    name = "swin_tiny_patch4_window7_224"
    source, target = build(name, device="cpu"), build(name, device="cpu", img_size=256, window_size=8)
    report = transfer.transfer(source, target)
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert {row.name: row.status for row in report.tensors}[key] == "resampled"
    table = target.layers[0].blocks[0].attn.relative_position_bias_table
    expected = resize_rel_pos_bias_table(
        source.state_dict()[key], new_window_size=(8, 8), new_bias_shape=table.shape
    )
    torch.testing.assert_close(table, expected, atol=1e-6, rtol=0)


def test_resampling_can_be_switched_off() -> None:
    source, target = build("resnet18", device="cpu"), build("resnet18", device="cpu", in_chans=1)
    report = transfer.transfer(source, target, options=Options(resample=False))
    assert report.counts()["resampled"] == 0
    assert torch.equal(target.conv1.weight, source.conv1.weight[:, :1])
