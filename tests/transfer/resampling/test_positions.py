"""Positions and tables of relative positions are brought to size as timm does it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from resamplings import VIT, architecture, bare, between, decide, resampled, timm_model
from timm.layers import resample_abs_pos_embed, resample_abs_pos_embed_nhwc
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table, resize_rel_pos_bias_table_levit
from timm.models.nest import resize_pos_embed as resize_nest
from timm.models.vision_transformer import checkpoint_filter_fn
from torch.nn import functional

import transfer
from transfer.operators import channel_fill
from transfer.resampling.grids import find_grid
from transfer.resampling.recognition import Geometry
from transfer.structure.records import Tensor
from zoo_index.catalogues.timm_catalogue import build

pytestmark = [  # timm's interpolation of bias tables
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence"),
    pytest.mark.filterwarnings("ignore:.*input value tensor is non-contiguous"),
]


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
