from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.errors import InputError, MethodError, TransferError
from transfer.options import Options
from transfer.structure.records import Block
from zoo_index.catalogues.timm_catalogue import build

FAMILIES = [
    "test_vit",
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_nfnet",
    "test_byobnet",
    "test_mambaout",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "mixer_s32_224",
    "regnety_002",
    "xcit_nano_12_p16_224",
    "levit_128s",
    "pvt_v2_b0",
    "mobilevit_xxs",
    "ghostnet_100",
    "maxvit_pico_rw_256",
    "eva02_tiny_patch14_224",
    "hrnet_w18_small",
    "inception_v3",
]


def block_sizes(model: nn.Module) -> list[int]:
    return [len(item.layers) if isinstance(item, Block) else 0 for item in transfer.standardize(model).items]


@pytest.mark.parametrize("name", nets.every_nth_fast(FAMILIES, 2))
def test_a_twin_becomes_bit_identical(name: str) -> None:
    source, target = nets.randomise(build(name, device="cpu"), 1), nets.randomise(build(name, device="cpu"), 2)
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors} == {"copied"}
    assert [row.name for row in report.tensors] == list(target.state_dict())
    assert report.similarity == 1
    assert report.coverage == 1
    for (name_, a), b in zip(source.state_dict().items(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b), name_


@pytest.mark.parametrize("name", nets.every_nth_fast(FAMILIES, 2, first=1))
def test_module_and_header_agree_and_names_do_not_matter(name: str) -> None:
    model = build(name)
    header = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    plan = transfer.plan(header, model)  # in the order of registration, and of execution
    assert [(row.status, row.source) for row in plan.tensors] == [("copied", name) for name in header]
    expected = transfer.standardize(header).fingerprint
    numbers: dict[str, str] = {}

    def rename(key: str) -> str:
        *parts, role = key.split(".")
        return ".".join([*(numbers.setdefault(part, f"n{len(numbers)}") for part in parts), role])

    assert transfer.standardize({rename(key): shape for key, shape in header.items()}).fingerprint == expected
    assert transfer.standardize({f"module.{key}": shape for key, shape in header.items()}).fingerprint == expected


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet18", [4, 4, 6, 4, 6, 4, 6, 4]),
        ("vit_tiny_patch16_224", [6] * 12),
        ("convnext_atto", [5] * 12),
        ("efficientnet_b0", [6, *[8] * 15]),
        ("swin_tiny_patch4_window7_224", [7] * 12),
        ("densenet121", [4] * 58),
    ],
)
def test_blocks_are_what_people_call_blocks(name: str, sizes: list[int]) -> None:
    assert [size for size in block_sizes(build(name)) if size] == sizes


def test_every_kind_of_tensor_is_in_one_layer() -> None:
    model = nets.AllKinds()
    named = [tensor.name for tensor in transfer.standardize(model).tensors()]
    assert sorted(named) == sorted(model.state_dict())


widths = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@given(widths, widths)
@settings(max_examples=60)
def test_each_element_is_copied_as_planned_or_untouched(a: list[int], b: list[int]) -> None:
    source, target = nets.randomise(nets.mlp(*a), 1), nets.randomise(nets.mlp(*b), 2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    given_ = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    report = transfer.transfer(source, target, options=Options(rescale=False, channels="leading", quiet_head=False))
    assert [row.name for row in report.tensors] == list(before)
    for row in report.tensors:
        found, expected = target.state_dict()[row.name], before[row.name].clone()
        if row.source is not None:
            given_shape = given_[row.source].shape
            common = tuple(slice(0, min(x, y)) for x, y in zip(given_shape, expected.shape, strict=True))
            if row.constants:
                expected[common[0]] = 0
            expected[common] = given_[row.source][common]
        assert torch.equal(found, expected)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, given_[name])


def test_kernels_are_centred_and_channels_lead() -> None:
    source, target = nn.Conv2d(3, 8, 5), nn.Conv2d(3, 6, 3)
    weight = source.weight.detach().clone()
    transfer.transfer(nn.Sequential(source), nn.Sequential(target), options=Options(resample=False))
    assert torch.equal(target.weight, weight[:6, :, 1:4, 1:4])


def test_statuses_say_what_happened() -> None:
    source = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4, bias=False), nn.LayerNorm(4))
    target = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2, bias=True), nn.LayerNorm(6))
    report = transfer.transfer(source, target)
    rows = {row.name: row for row in report.tensors}
    assert rows["0.weight"].status == "copied"
    assert rows["1.weight"].status == "cropped"
    assert rows["2.weight"].status == "grown"
    assert rows["1.bias"].status == "identity"
    assert rows["1.bias"].reason == "the matched source layer has no bias and computes as with 0"
    assert report.counts() == {"copied": 2, "cropped": 1, "grown": 2, "resampled": 0, "identity": 1, "fresh": 0}
    assert report.coverage == pytest.approx((32 + 8 + 16 + 4 + 4) / (32 + 8 + 16 + 2 + 6 + 6))


def test_tied_tensors_stay_tied() -> None:
    source, target = nets.randomise(nets.TiedHead(), 1), nets.randomise(nets.TiedHead(), 2)
    report = transfer.transfer(source, target)
    assert target.head.weight is target.embed.weight
    assert torch.equal(target.head.weight, source.embed.weight)
    assert "tied to" in {row.name: row for row in report.tensors}["head.weight"].reason


@pytest.mark.parametrize("source_is_tied", [True, False])
def test_plans_and_reports_agree_on_ties_of_any_kind(source_is_tied: bool) -> None:
    def network(width: int, *, is_tied: bool) -> nn.Module:
        made = nn.Module()
        made.embed = nn.Embedding(20, width)
        made.a = nn.Linear(width, width)
        made.b = made.a if is_tied else nn.Linear(width, width)  # a module under two names
        made.head = nn.Linear(width, 20, bias=False)
        if is_tied:
            made.head.weight.data = made.embed.weight.data  # two parameters of one storage
        return made

    source, target = network(6, is_tied=source_is_tied), network(8, is_tied=True)
    planned = transfer.plan(source, target)
    report = transfer.transfer(source, target)
    assert planned.tensors == report.tensors
    assert planned.coverage == report.coverage == (20 * 6 + 6 * 6 + 6) / (20 * 8 + 8 * 8 + 8)
    rows = {row.name: row for row in report.tensors}
    assert {name: row.tied_to for name, row in rows.items() if row.tied_to} == {
        "b.weight": "a.weight",
        "b.bias": "a.bias",
        "head.weight": "embed.weight",
    }
    assert all(row.status == "grown" for row in rows.values())
    assert torch.equal(target.a.weight[:6, :6], source.a.weight)
    assert target.head.weight.data_ptr() == target.embed.weight.data_ptr()


def test_a_tied_tensor_fed_under_its_second_name_is_written() -> None:
    source = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 11, bias=False))
    target = nn.Module()
    target.embed = nn.Embedding(11, 6)
    target.norm = nn.LayerNorm(6)
    target.head = nn.Linear(6, 11, bias=False)
    target.head.weight = target.embed.weight
    report = transfer.transfer(source, target)
    assert torch.equal(target.head.weight, source[1].weight)
    assert {row.name: row.status for row in report.tensors}["embed.weight"] == "copied"
    assert report.coverage == 1


def test_a_refused_transfer_leaves_the_target_as_it_was() -> None:
    source, target = nets.mlp(3, 4, 2), nets.mlp(3, 4, 2)
    source[2].weight.data[0, 0] = float("nan")
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(TransferError, match="NaN"):
        transfer.transfer(source, target)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(InputError, match="expected tensors or shapes in a state dict, got float"):
        transfer.standardize({"weight": torch.zeros(2, 2), "lr": 0.1})


def test_integer_buffers_are_never_cropped() -> None:
    target = nets.IndexBuffer(3)
    report = transfer.transfer(nets.randomise(nets.IndexBuffer(5), 7), target)
    row = {row.name: row for row in report.tensors}["table"]
    assert row.status == "fresh"
    assert "only between equal shapes" in row.reason
    assert torch.equal(target.table, torch.arange(3))


def test_dtype_device_and_grad_flags_stay() -> None:
    source = nets.randomise(nets.mlp(3, 4, 2), 1)
    target = nets.mlp(3, 4, 2).to(torch.bfloat16)
    target[0].weight.requires_grad_(False)
    transfer.transfer(source, target)
    assert target[0].weight.dtype == torch.bfloat16
    assert not target[0].weight.requires_grad
    assert target[2].weight.requires_grad
    assert torch.equal(target[0].weight, source[0].weight.to(torch.bfloat16))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nonfinite_sources_are_refused_by_name(value: float) -> None:
    source, target = nets.mlp(3, 4, 2), nets.mlp(3, 4, 2)
    source[2].weight.data[0, 0] = value
    with pytest.raises(TransferError, match=r"NaN or infinity in source tensor '2\.weight'"):
        transfer.transfer(source, target)
    transfer.transfer(source, target, allow_nonfinite=True)
    assert not torch.isfinite(target[2].weight).all()


def test_values_beyond_the_dtype_are_refused_by_name() -> None:
    source, target = nets.mlp(3, 4, 2), nets.mlp(3, 4, 2).half()
    source[0].weight.data[0, 0] = 1e6
    with pytest.raises(TransferError, match=r"larger ones in source tensor '0\.weight'"):
        transfer.transfer(source, target)


def test_large_but_finite_weights_pass() -> None:
    source, target = nets.mlp(3, 4, 2), nets.mlp(3, 4, 2)
    source[0].weight.data.fill_(3e38)  # their sum overflows
    transfer.transfer(source, target)
    assert torch.equal(source[0].weight, target[0].weight)


def test_meta_targets_are_refused() -> None:
    with pytest.raises(InputError, match="meta device"):
        transfer.transfer(nets.mlp(3, 4), nets.mlp(3, 4).to("meta"))


def test_targets_with_expanded_parameters_are_refused_untouched() -> None:
    target = nets.mlp(3, 4, 2)
    target[2].bias = nn.Parameter(torch.zeros(1).expand(2))
    before = target[0].weight.detach().clone()
    with pytest.raises(InputError, match=r"'2\.bias' is expanded"):
        transfer.transfer(nets.mlp(3, 4, 2), target)
    assert torch.equal(target[0].weight, before)


def test_targets_must_be_modules() -> None:
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module as target, got dict"):
        transfer.transfer(nets.mlp(3, 4), {})  # type: ignore[arg-type]


def test_wrong_arguments_say_what_is_expected() -> None:
    with pytest.raises(MethodError, match="'paper' or 'dpiat', got 'papre'"):
        transfer.similarity(nets.mlp(3, 4), nets.mlp(3, 4), measure="papre")
    with pytest.raises(InputError, match="without any tensor"):
        transfer.standardize(nn.ReLU())
    with pytest.raises(InputError, match="got int"):
        transfer.standardize(3)  # type: ignore[arg-type]


def test_a_second_transfer_changes_nothing() -> None:
    source, target = nets.randomise(nets.conv_net(6, 2), 1), nets.randomise(nets.conv_net(8, 3), 2)
    transfer.transfer(source, target)
    first = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    transfer.transfer(source, target)
    assert all(torch.equal(tensor, first[name]) for name, tensor in target.state_dict().items())


def test_depth_growth_feeds_several_blocks_from_one() -> None:
    source, target = nets.block_stack(6, 2), nets.block_stack(6, 5)
    report = transfer.transfer(source, target)
    assert report.counts() == {
        "copied": 5 * 4 + 4,
        "cropped": 0,
        "grown": 0,
        "resampled": 0,
        "identity": 0,
        "fresh": 0,
    }
    assert torch.equal(target[1][0][0].weight, source[1][0][0].weight)
    assert torch.equal(target[1][-1][0].weight, source[1][-1][0].weight)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (None, None, "a module, a state dict, a checkpoint or a path, got NoneType"),
        (nn.Linear(3, 2), {"head": False}, r"expected transfer.Options, got dict"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(2)}, None, "'weight' is of type ndarray"),
        ({0: torch.zeros(2, 3)}, None, "expected names of tensors in a state dict, got 0"),
    ],
)
def test_odd_arguments_are_named(source: object, options: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        transfer.transfer(source, nn.Linear(3, 2), options=options)


def test_tensors_that_cannot_be_written_or_read_are_named_before_anything_is_written() -> None:
    with torch.inference_mode():
        frozen = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(InputError, match="made in inference mode"):
        transfer.transfer(nn.Sequential(nn.Linear(3, 2)), frozen)
    target = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    source = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).state_dict()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    source["1.weight"] = source["1.weight"].to_sparse()
    with pytest.raises(TransferError, match=r"'1\.weight' is torch\.sparse_coo"):
        transfer.transfer(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
