"""Every resampling: what it promises, the types it keeps, and where it has nothing to do."""

from __future__ import annotations

import subprocess
import sys
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from resamplings import between

import transfer
from transfer.operators import channel_fill
from transfer.options import Options
from transfer.resampling.recognition import Geometry, resampling
from transfer.resampling.transforms import AdaptChannels, ResamplePatches
from transfer.structure.records import Architecture, Layer, Tensor
from zoo_index.catalogues.timm_catalogue import build


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


def test_resampling_can_be_switched_off() -> None:
    source, target = build("resnet18", device="cpu"), build("resnet18", device="cpu", in_chans=1)
    report = transfer.transfer(source, target, options=Options(resample=False))
    assert report.counts()["resampled"] == 0
    assert torch.equal(target.conv1.weight, source.conv1.weight[:, :1])
