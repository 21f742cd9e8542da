"""What a plan says is possible and complete, and is what a transfer does: for real networks and random ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import isfinite, prod
from typing import Any, get_args

import nets
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.options import ChannelChoice, Options
from transfer.planning.planned import PlannedTensor, TransferPlan
from transfer.rearrangement import Rearrange
from transfer.regions import Box
from transfer.resampling.dimensions import changes_dimensions_only
from transfer.structure.headers import header_of
from transfer.structure.records import Header
from transfer.weights.reading import StateReader
from zoo_index.catalogues.timm_catalogue import build

RELATIVES = [
    ("ghostnet_050", "ghostnet_100"),
    ("densenet121", "densenet161"),
    ("regnety_040", "regnety_064"),
    ("swin_tiny_patch4_window7_224", "swinv2_small_window8_256"),
    ("convnext_atto", "convnextv2_tiny"),
    ("xcit_nano_12_p16_224", "xcit_tiny_24_p8_224"),
    ("levit_128s", "levit_256"),
    ("mobilevit_xxs", "mobilevitv2_100"),
    ("coat_tiny", "coat_lite_small"),
    ("cait_xxs24_224", "cait_s24_384"),
    ("hrnet_w18_small", "hrnet_w32"),
    ("dla34", "dla60x"),
    ("inception_v3", "inception_v4"),
    ("dm_nfnet_f0", "dm_nfnet_f1"),
    ("eva02_tiny_patch14_224", "eva02_small_patch14_336"),
    ("vit_small_patch14_reg4_dinov2", "vit_tiny_patch16_224"),
    ("resnet50_clip", "resnet101_clip"),
]
"""They differ in width, depth, resolution, or in how they write the same thing."""

OTHERS = [
    "beit_base_patch16_224",
    "botnet26t_256",
    "crossvit_9_240",
    "cs3darknet_m",
    "davit_tiny",
    "edgenext_x_small",
    "efficientformer_l1",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "hgnetv2_b0",
    "lcnet_050",
    "maxvit_pico_rw_256",
    "mixnet_s",
    "mobilenetv4_conv_small",
    "mvitv2_tiny",
    "pit_ti_224",
    "pvt_v2_b0",
    "dm_nfnet_f0",
    "resnest14d",
    "rexnet_100",
    "skresnet18",
    "tiny_vit_5m_224",
    "tnt_s_patch16_224",
    "twins_svt_small",
    "visformer_tiny",
    "volo_d1_224",
    "vgg11_bn",
]


def strangers() -> list[tuple[str, str]]:
    """Pair each of `OTHERS` with one that has nothing to do with it, the same at every run."""
    names = sorted(OTHERS)
    random.Random(0).shuffle(names)
    return list(zip(names, [*names[1:], names[0]], strict=True))


SMALL = [
    ("test_vit", "test_vit2"),
    ("test_vit2", "test_vit"),
    ("test_vit3", "test_vit4"),
    ("test_resnet", "resnet10t"),
    ("resnet10t", "test_resnet"),
    ("test_efficientnet", "test_efficientnet_evos"),
    ("test_efficientnet_gn", "test_efficientnet_ln"),
    ("test_convnext", "test_convnext3"),
    ("test_nfnet", "test_byobnet"),
    ("test_mambaout", "test_convnext2"),
    ("ghostnet_050", "ghostnet_100"),
    ("mobilevit_xxs", "mobilevitv2_050"),
    ("levit_128s", "levit_192"),
    ("lcnet_050", "mobilenetv4_conv_small_035"),
    ("mobilenetv2_100", "mobilenetv2_050"),
]


def check_plan(plan: TransferPlan, source: Header, target: Header) -> None:
    """Assert what holds for every plan between networks of these headers."""
    assert [(row.name, row.shape) for row in plan.tensors] == [(name, shape) for name, (shape, _) in target.items()]
    rows = {row.name: row for row in plan.tensors if not row.tied_to}
    for row in rows.values():
        check_row(row, source, target)
    for row in plan.tensors:
        if row.tied_to:
            other = rows[row.tied_to]
            assert (row.status, row.source, row.shape) == (other.status, other.source, other.shape), row
            assert (row.regions, row.constants, row.reason) == ((), (), f"tied to {other.name!r}"), row
    n_elements = sum(prod(row.shape) for row in rows.values())
    assert plan.coverage == pytest.approx(sum(row.n_written for row in plan.tensors) / max(n_elements, 1))
    assert 0 <= plan.similarity <= 1 + 1e-12


def check_row(row: PlannedTensor, source: Header, target: Header) -> None:
    """Assert what holds for every tensor of the target."""
    size = prod(row.shape)
    assert row.n_written == sum(prod(region.size) for region in row.regions) <= size, row
    for constant in row.constants:
        assert is_within(constant.box, row.shape), row
        assert isfinite(constant.value), row
    for region in row.regions:
        assert isfinite(region.scale), row
        assert is_within(region.target, row.shape), row
        assert is_within(region.source, shape_read(row, region.tensor or row.source or "", source)), row
    assert not overlap([region.target for region in row.regions]), row
    if row.status in ("fresh", "identity"):
        assert row.reason, row
        assert not row.no_larger_than or (row.status == "fresh" and row.no_larger_than in source), row
        assert (row.source, row.source_shape, row.regions, row.transform) == (None, None, (), None), row
        assert row.folding is None, row
        assert bool(row.constants) == (row.status == "identity"), row
    else:
        assert row.source in source, row
        assert row.source_shape == source[row.source].shape, row
        assert row.regions or not size, row
        assert row.operator, row
        is_moved = isinstance(row.transform, Rearrange) or changes_dimensions_only(row.transform)
        assert row.transform is None or row.status == "resampled" or row.operator == "keep norm" or is_moved, row
        assert row.transform is not None or row.status != "resampled", row
    if row.folding is not None:
        assert set(row.folding.names) <= source.keys(), row
        assert row.reason, row
        assert row.operator != "copy", row
        assert not {region.tensor for region in row.regions} - {"", row.source}, row
    if row.status in ("copied", "cropped"):
        assert row.n_written == size, row
    if row.operator == "copy":
        assert row.status == "copied", row
        assert row.regions[0].scale == 1, row
    if row.status == "grown":
        is_repeated = any(
            overlap([region.source for region in row.regions if region.tensor == name])
            for name in {region.tensor for region in row.regions}
        )
        assert row.n_written < size or row.operator == "keep norm" or is_repeated, row
    dtypes = {source[name].dtype for name in row.sources} | {target[row.name].dtype}
    if not all(dtype.startswith(("float", "bfloat", "complex")) for dtype in dtypes):
        assert row.operator in ("copy", ""), row
        assert len(dtypes) == 1 or row.status == "fresh", row


def is_within(box: Box, shape: Sequence[int]) -> bool:
    """Whether a box has the rank of a tensor and lies in it."""
    return len(box.start) == len(box.size) == len(shape) and all(
        0 <= start <= start + n <= length for start, n, length in zip(box.start, box.size, shape, strict=True)
    )


def overlap(boxes: Sequence[Box]) -> bool:
    """Whether two of them share an element."""
    if len(boxes) < 2 or not boxes[0].start:
        return len(boxes) > 1
    start = np.array([box.start for box in boxes])
    end = start + np.array([box.size for box in boxes])
    shared = (np.minimum(end[:, None], end) > np.maximum(start[:, None], start)).all(2)
    return bool(np.triu(shared, 1).any())


def shape_read(row: PlannedTensor, name: str, source: Header) -> tuple[int, ...]:
    """Shape of what regions of a row refer to, brought to the rank of the target."""
    shape = source[name].shape
    if row.transform is not None:
        shape = tuple(row.transform(torch.empty(shape, device="meta")).shape)
    n = len(row.shape)
    assert set(shape[n:]) <= {1}, row
    return (*shape[:n], *(1,) * (n - len(shape)))


def carried_out(row: PlannedTensor, source: Mapping[str, torch.Tensor], before: torch.Tensor) -> torch.Tensor:
    """Return what a tensor of the target is to be after the transfer, straight from what a row says."""
    after = before.clone()
    for constant in row.constants:
        start, size = constant.box.start, constant.box.size
        if constant.diagonal:
            middle = [a + n // 2 for a, n in zip(start[2:], size[2:], strict=True)]
            for i in range(min(size[:2])):
                after[(start[0] + i, start[1] + i, *middle)] = constant.value
        else:
            after[places(start, size)] = constant.value
    for region in row.regions:
        value = source[region.tensor or row.source or ""]
        if row.folding is not None:
            value = row.folding(value, StateReader(source.__getitem__))
        if row.transform is not None:
            value = row.transform(value)
        shape = value.shape[: before.dim()]
        value = value.reshape((*shape, *(1,) * (before.dim() - len(shape))))
        part = value[places(region.source_start, region.size)] * region.scale
        after[places(region.target_start, region.size)] = part.to(before.dtype)
    return after


def places(start: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))


def have_equal_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.itemsize]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(bits), b.contiguous().view(bits))


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_shrunk(after: torch.Tensor, before: torch.Tensor, limit: torch.Tensor) -> bool:
    """Whether random values were made as small as others, all by one factor."""
    ours, theirs = (
        value.double().square().mean().sqrt() * prod(value.shape[1:]) ** 0.5 for value in (before, limit)
    )
    expected = (before.double() * theirs / ours).to(before.dtype)
    return bool(theirs < ours * 1.001) and torch.allclose(after, expected, rtol=1e-2, atol=1e-6)


def check_transfer(source: nn.Module, target: nn.Module, options: Options) -> None:
    """Transfer, and assert that each element became what the plan says, or stayed.

    Statistics that are compensated (also those folded into a layer), and weights beside gates that are left out,
    are adapted on the way; the report says which, and they are passed over here.
    """
    check_plan(transfer.plan(source, target, options=options), header_of(source), header_of(target))
    given_, before = copies(source), copies(target)
    report = transfer.transfer(source, target, options=options, verify=False)
    assert [row.name for row in report.tensors] == list(before)
    after = target.state_dict()
    for row in report.tensors:
        if "without what the channels contributed" in row.reason:
            assert options.compensate, row
            assert row.folding or row.name.endswith(("running_mean", "running_var")), row
        elif "with the average of the gate" in row.reason:
            assert options.gates, row
            assert row.name.endswith(("weight", "bias")), row
        elif "as small as the source's" in row.reason:
            assert options.quiet_head, row
            assert is_shrunk(after[row.name], before[row.name], given_[row.no_larger_than]), row
        else:
            assert have_equal_bits(after[row.name], carried_out(row, given_, before[row.name])), row
    for name, tensor in source.state_dict().items():
        assert have_equal_bits(tensor, given_[name]), name


FIRST = [*RELATIVES[::4], *((b, a) for a, b in RELATIVES[1::4]), *strangers()[1::16]]
"""Half of `RELATIVES`, in one direction each; the others and most strangers take long and run in the sweep."""

OTHERS_LATER = [pair for pair in [*RELATIVES, *((b, a) for a, b in RELATIVES), *strangers()] if pair not in FIRST]


@pytest.mark.parametrize(
    ("source", "target"), [*FIRST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS_LATER)]
)
def test_plans_between_architectures_are_lawful(source: str, target: str) -> None:
    a, b = build(source), build(target)
    check_plan(transfer.plan(a, b), header_of(a), header_of(b))


@pytest.mark.parametrize("compensate", [True, False])
@pytest.mark.parametrize(("source", "target"), nets.every_nth_fast(SMALL, 2))
def test_each_element_is_what_the_plan_says_or_untouched(source: str, target: str, compensate: bool) -> None:
    torch.manual_seed(0)
    options = Options(compensate=compensate, channels="leading")
    check_transfer(build(source, device="cpu"), build(target, device="cpu"), options)


class Residual(nn.Module):
    """Adds what its body makes of the input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.body(x)
        return result


Spec = Any
"""A layer as (kind, widths), or a list of those: a sequence."""

sizes = st.integers(1, 9)
leaves = st.one_of(
    st.tuples(st.just("linear"), sizes, sizes),
    st.tuples(st.just("conv"), sizes, sizes, st.integers(1, 4)),
    st.tuples(st.just("grouped"), sizes, sizes, st.integers(1, 3)),
    st.tuples(st.sampled_from(["batchnorm", "layernorm", "groupnorm", "embedding", "attention", "table"]), sizes),
    st.tuples(st.just("bottleneck"), sizes, sizes),
    st.tuples(st.just("mlp"), sizes, sizes),
)
specs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.tuples(st.just("stack"), inner, st.integers(1, 4))
    ),
    max_leaves=8,
)


def made(spec: Spec) -> nn.Module:
    """Build what a spec says."""
    if isinstance(spec, list):
        return nn.Sequential(*map(made, spec))
    kind, a, *rest = spec
    b = rest[0] if rest else 1
    if kind == "stack":
        return nn.Sequential(*(made(a) for _ in range(b)))
    if kind == "conv":
        return nn.Conv2d(a, b, rest[1], padding=rest[1] // 2)
    if kind == "grouped":
        return nn.Conv2d(a * rest[1], b * rest[1], 3, padding=1, groups=rest[1])
    if kind == "bottleneck":
        layers = nn.Conv2d(a, b, 1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, a, 3, padding=1), nn.BatchNorm2d(a)
        return Residual(nn.Sequential(*layers))
    if kind == "mlp":
        return Residual(nn.Sequential(nn.LayerNorm(a), nn.Linear(a, b), nn.GELU(), nn.Linear(b, a)))
    if kind == "linear":
        return nn.Linear(a, b)
    if kind == "embedding":
        return nn.Embedding(5, a)
    if kind == "attention":
        return nets.Attention(2 * a, 2, "fused")
    if kind == "table":
        return nets.IndexBuffer(a)
    norms = {"batchnorm": nn.BatchNorm2d, "layernorm": nn.LayerNorm}
    return nn.GroupNorm(1, a) if kind == "groupnorm" else norms[kind](a)


@settings(max_examples=25)
@given(specs, specs)
@example(("linear", 1, 1), [("linear", 1, 1), [("table", 1), ("bottleneck", 1, 1)]])  # a table is no layer scale
@example(("stack", [("bottleneck", 1, 2)], 2), [("bottleneck", 2, 1), ("bottleneck", 8, 1)])  # no concatenation
def test_random_networks_obey_the_laws(a: Spec, b: Spec) -> None:
    source, target = nets.randomise(made(a), 1), nets.randomise(made(b), 2)
    for channels in get_args(ChannelChoice)[::-1]:
        options = Options(channels=channels)
        if channels == "leading":  # else the report does not tell which channels each one is
            check_transfer(source, target, options)
        transfer.transfer(source, target, options=options, verify=False)
        once = copies(target)
        transfer.transfer(source, target, options=options, verify=False)
        assert all(have_equal_bits(tensor, once[name]) for name, tensor in target.state_dict().items())


@given(specs)
@settings(max_examples=30)
def test_a_random_twin_becomes_bit_identical(spec: Spec) -> None:
    source, twin = nets.randomise(made(spec), 1), nets.randomise(made(spec), 2)
    report = transfer.transfer(source, twin, verify=False)
    assert {row.status for row in report.tensors} == {"copied"}
    assert all(have_equal_bits(tensor, twin.state_dict()[name]) for name, tensor in source.state_dict().items())
