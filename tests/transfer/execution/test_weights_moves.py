"""Carrying out a plan: what is read, what is written where, what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.errors import InputError, TransferError
from transfer.execution.apply import apply_plan
from transfer.planning.planned import PlannedTensor
from transfer.regions import Box, Constant, Region
from transfer.weights.reading import Index, StateReader


class Holder(nn.Module):
    """One buffer of any shape and element type."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("w", value)


class Recorder(StateReader):
    """Reads, and notes what was asked for."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__(state.__getitem__)
        self.asked: list[tuple[str, Index | None]] = []

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        self.asked.append((name, index))
        return super().__call__(name, index)


def carried_out(
    row: PlannedTensor, state: Mapping[str, torch.Tensor], target: torch.Tensor, **options: bool
) -> Recorder:
    module = Holder(target)
    read = Recorder(state)
    empty = transfer.plan(nn.Linear(1, 1), nn.Linear(1, 1))
    report = apply_plan(replace(empty, tensors=(row,)), read, module, **options)
    assert report.tensors == (row,)
    assert module.w is target
    return read


def whole(shape: tuple[int, ...], scale: float = 1.0, **values: object) -> PlannedTensor:
    zeros = (0,) * len(shape)
    region = Region(zeros, zeros, shape, scale=scale)
    return PlannedTensor("w", shape, "copied", "a", shape, "copy", (region,), **values)


def test_only_the_boxes_that_regions_name_are_read() -> None:
    state = {"a": torch.arange(48.0).reshape(6, 8)}
    regions = (Region((0, 1), (0, 0), (2, 3)), Region((4, 5), (2, 1), (1, 2)))
    target = torch.zeros(3, 3)
    read = carried_out(PlannedTensor("w", (3, 3), "cropped", "a", (6, 8), "leading", regions), state, target)
    assert read.asked == [("a", region.source.index) for region in regions] * 2
    expected = torch.zeros(3, 3)
    expected[:2], expected[2, 1:] = state["a"][:2, 1:4], state["a"][4, 5:7]
    assert torch.equal(target, expected)


def test_a_tensor_that_is_taken_whole_is_asked_for_whole() -> None:
    read = carried_out(whole((2, 3)), {"a": torch.ones(2, 3)}, torch.zeros(2, 3))
    assert read.asked == [("a", None)] * 2


def test_regions_may_name_other_tensors() -> None:
    regions = (Region((0, 0), (0, 0), (2, 3)), Region((1, 0), (2, 0), (1, 3), "b"))
    target = torch.zeros(3, 3)
    row = PlannedTensor("w", (3, 3), "grown", "a", (2, 3), "joined", regions)
    carried_out(row, {"a": torch.full((2, 3), 2.0), "b": torch.full((2, 3, 1), 3.0)}, target)
    assert target[:, 0].tolist() == [2, 2, 3]


@pytest.mark.parametrize("box", [(3, 2), (4, 5)], ids=["part", "whole"])
@pytest.mark.parametrize(
    ("given_", "wanted"), [((4, 5), (4, 5, 1, 1)), ((4, 5, 1, 1), (4, 5))], ids=["grow", "drop"]
)
def test_linear_layers_feed_convolutions_of_one_position_and_the_reverse(
    given_: tuple[int, ...], wanted: tuple[int, ...], box: tuple[int, int]
) -> None:
    source = torch.arange(20.0).reshape(given_)
    target = torch.zeros(wanted)
    rest = (1,) * (len(wanted) - 2)
    zeros = (0,) * len(wanted)
    row = PlannedTensor("w", wanted, "copied", "a", given_, "copy", (Region(zeros, zeros, (*box, *rest)),))
    carried_out(row, {"a": source}, target)
    expected = torch.zeros(4, 5)
    expected[: box[0], : box[1]] = source.reshape(4, 5)[: box[0], : box[1]]
    assert torch.equal(target.reshape(4, 5), expected)


@dataclass(frozen=True)
class Turned:
    """Transposes."""

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        return value.t()


def test_a_transform_sees_the_whole_tensor_once_per_look() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3)}
    regions = (Region((0, 0), (0, 0), (2, 2)), Region((2, 0), (2, 0), (1, 2)))
    target = torch.zeros(3, 2)
    row = PlannedTensor("w", (3, 2), "resampled", "a", (2, 3), "turn", regions, transform=Turned())
    read = carried_out(row, state, target)
    assert read.asked == [("a", None)] * 2
    assert torch.equal(target, state["a"].t())


def test_constants_come_first_and_in_order_and_copies_are_scaled() -> None:
    constants = (
        Constant(Box((0, 0), (3, 3)), 7.0),
        Constant(Box((0, 0), (2, 3)), 0.0),
        Constant(Box((0, 0), (3, 3)), 1.0, diagonal=True),
    )
    region = Region((0, 0), (0, 0), (1, 1), scale=0.5)
    row = PlannedTensor("w", (3, 3), "grown", "a", (1, 1), "x", (region,), constants)
    target = torch.zeros(3, 3)
    carried_out(row, {"a": torch.full((1, 1), 8.0)}, target)
    assert target.tolist() == [[4, 0, 0], [0, 1, 0], [7, 7, 1]]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (whole((2, 3)), torch.ones(3, 2)),
        (whole((2, 3)), torch.ones(2, 3, 2)),
        (whole((2, 3)), torch.ones(1, 3)),
        (
            PlannedTensor("w", (2, 3), "cropped", "a", (9, 9), "x", (Region((8, 0), (0, 0), (2, 3)),)),
            torch.ones(9, 9),
        ),
        (
            PlannedTensor("w", (2, 3), "cropped", "a", (9, 9), "x", (Region((0, 0), (0, 0), (2, 3)),)),
            torch.ones(1, 9),
        ),
        (whole((3, 2)), torch.ones(3, 2)),
    ],
    ids=["turned", "deeper", "broadcast", "beyond", "short", "target"],
)
def test_other_shapes_than_planned_are_refused(row: PlannedTensor, found: torch.Tensor) -> None:
    target = torch.zeros(2, 3)
    with pytest.raises(TransferError, match=r"as planned, got \(.*make the plan again"):
        carried_out(row, {"a": found}, target)
    assert not target.any()


def test_a_missing_tensor_is_refused() -> None:
    with pytest.raises(TransferError, match="expected source tensor 'a' as planned, the weights do not hold it"):
        carried_out(whole((2, 3)), {"b": torch.ones(2, 3)}, torch.zeros(2, 3))


DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.int64,
    torch.int32, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def kind(dtype: torch.dtype) -> str:
    if dtype.is_complex or dtype.is_floating_point:
        return "complex" if dtype.is_complex else "real"
    return "bool" if dtype == torch.bool else "int"


def wide(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype.itemsize == 1 else value


def is_kept(source: torch.Tensor, dtype: torch.dtype, allow_nonfinite: bool) -> bool:
    """The law: whether a transfer may write these values into a tensor of this element type."""
    if kind(source.dtype) != kind(dtype) and (kind(source.dtype), kind(dtype)) != ("real", "complex"):
        return False
    if kind(source.dtype) in ("int", "bool"):
        return torch.equal(source.to(dtype).to(source.dtype), source)
    if not torch.isfinite(wide(source)).all():
        return allow_nonfinite
    if dtype.itemsize == 1:
        return bool((wide(source).abs() <= torch.finfo(dtype).max).all())
    return bool(torch.isfinite(source.to(dtype)).all())


@given(
    st.sampled_from(DTYPES),
    st.sampled_from(DTYPES),
    st.sampled_from([0.0, 1.0, 100.0, 200.0, 6e4, 1e6, 1e30, 3.4e38, 1e300, float("inf"), float("nan")]),
    st.booleans(),
)
@settings(max_examples=150)
def test_every_pair_of_element_types_is_kept_or_refused(
    a: torch.dtype, b: torch.dtype, value: float, allow_nonfinite: bool
) -> None:
    if kind(a) in ("int", "bool") and not value < 2**31:
        value = 1.0
    source = torch.tensor([1.0, value], dtype=torch.float64).to(a)
    target = torch.zeros(2, dtype=b)
    if is_kept(source, b, allow_nonfinite):
        carried_out(whole((2,)), {"a": source}, target, allow_nonfinite=allow_nonfinite)
        assert target.view(torch.uint8).tolist() == source.to(b).view(torch.uint8).tolist()
    else:
        with pytest.raises(TransferError, match=r"expected .*'a'"):
            carried_out(whole((2,)), {"a": source}, target, allow_nonfinite=allow_nonfinite)
        assert not target.view(torch.uint8).any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64], ids=str)
def test_one_bad_value_anywhere_is_found(bad: float, dtype: torch.dtype) -> None:
    source = torch.full((300, 70), 100.0, dtype=dtype)
    source[211, 13] = bad
    target = torch.zeros(300, 70, dtype=dtype)
    with pytest.raises(TransferError, match="NaN or infinity in source tensor 'a'"):
        carried_out(whole((300, 70)), {"a": source}, target)
    assert not target.abs().any()


def test_bad_values_outside_of_what_is_read_do_no_harm() -> None:
    source = torch.ones(4, 4)
    source[3, 3] = float("nan")
    row = PlannedTensor("w", (3, 3), "cropped", "a", (4, 4), "x", (Region((0, 0), (0, 0), (3, 3)),))
    target = torch.zeros(3, 3)
    carried_out(row, {"a": source}, target)
    assert torch.equal(target, torch.ones(3, 3))


def test_overflow_is_seen_beside_nonfinite_values_that_are_allowed() -> None:
    source = torch.tensor([float("nan"), 1e6])
    with pytest.raises(TransferError, match=r"within the range of torch\.float16"):
        carried_out(whole((2,)), {"a": source}, torch.zeros(2, dtype=torch.float16), allow_nonfinite=True)


def test_a_scale_that_overflows_is_refused() -> None:
    with pytest.raises(TransferError, match="NaN or infinity"):
        carried_out(whole((2,), scale=1e30), {"a": torch.full((2,), 1e30)}, torch.zeros(2))


def test_averaged_weights_of_what_is_no_file_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected the path of a checkpoint with ema=True, got Linear"):
        transfer.transfer(nn.Linear(2, 2), nn.Linear(2, 2), ema=True)
