"""Networks of other widths are compared and aligned at a common scale."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.alignment.matching import match
from transfer.alignment.scaling import at_common_scale, scaled_similarity
from transfer.structure.records import Architecture, Block, Layer
from zoo_index.catalogues.timm_catalogue import build

widths = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@given(widths, widths)
def test_the_common_scale_only_ever_adds(a: list[int], b: list[int]) -> None:
    modules = nets.mlp(*a), nets.mlp(*b)
    source, target = map(transfer.standardize, modules)
    plain = match(source, target).similarity
    assert plain <= transfer.similarity(source, target) <= 1
    assert transfer.similarity(source, source) == 1
    published = [transfer.standardize(module, method="paper") for module in modules]
    paper = match(*published, method="paper")
    assert transfer.similarity(*published, measure="paper") == paper.similarity
    assert scaled_similarity(paper.source, paper.target, paper.similarity) == paper.similarity


def test_half_the_width_is_as_good_as_the_root_of_a_half() -> None:
    small, wide = (nn.Sequential(nn.Linear(8, n), nn.Linear(n, n), nn.Linear(n, 4)) for n in (16, 32))
    assert match(small, wide).similarity == pytest.approx((0.5 + 0.25 + 0.5) / 3)
    assert transfer.similarity(small, wide) == pytest.approx(0.5**0.5)


def test_names_do_not_matter() -> None:
    source, target = (
        transfer.standardize(build(name)) for name in ("vit_base_patch16_224", "vit_small_patch16_224")
    )
    bare = [
        Architecture(
            one.form,
            tuple(
                Block(tuple(map(nameless, item.layers))) if isinstance(item, Block) else nameless(item)
                for item in one.items
            ),
        )
        for one in (source, target)
    ]
    assert transfer.similarity(*bare) == transfer.similarity(source, target)


def nameless(layer: Layer) -> Layer:
    return replace(layer, path="", tensors=tuple(replace(tensor, name="") for tensor in layer.tensors))


def test_kind_counts_more_than_width() -> None:
    target = build("vit_small_patch16_224")
    wider, mixer = build("vit_base_patch16_224"), build("mixer_s32_224")
    assert match(wider, target).similarity < match(mixer, target).similarity
    assert transfer.similarity(wider, target) > transfer.similarity(mixer, target)


def test_stages_meet_stages_of_another_width() -> None:
    source, target = build("convnext_tiny"), build("convnext_tiny", dims=(48, 96, 192, 384))
    alignment, similar = at_common_scale(match(source, target))
    assert all(pair.source.path == pair.target.path for pair in alignment.pairs)
    assert similar == transfer.similarity(source, target)
    plan = transfer.plan(source, target)
    assert {row.source for row in plan.tensors if row.regions} <= {row.name for row in plan.tensors}
    assert all(row.source == row.name for row in plan.tensors if row.regions)


def test_what_fits_exactly_is_not_given_up_for_a_few_layers_more() -> None:
    source = build("efficientnet_lite0")
    target = build("tf_mobilenetv3_large_minimal_100", num_classes=10)  # at half the width a little more is alike
    status = {row.name: row.status for row in transfer.plan(source, target).tensors}
    exact = [f"blocks.{stage}.{i}.conv_pw.weight" for stage, i in ((3, 0), (4, 0), (4, 1), (5, 0))]
    assert [status[name] for name in exact] == ["copied"] * 4


def test_stages_of_one_block_are_stages() -> None:
    torch.manual_seed(0)
    deep = build("convnext_atto", device="cpu", depths=(2, 2, 2, 2), ls_init_value=1.0)
    short = build("convnext_atto", device="cpu", depths=(1, 1, 1, 1))
    sources = {row.name: row.source for row in transfer.plan(deep, short).tensors}
    for stage in range(4):
        assert str(sources[f"stages.{stage}.blocks.0.mlp.fc1.weight"]).startswith(f"stages.{stage}.blocks.")


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_layers_without_channels_have_no_scale() -> None:
    networks = [nets.mlp(3, width, 2) for width in (4, 0, 8)]
    for source in networks:
        for target in networks:
            assert 0 <= transfer.similarity(source, target) <= 1
