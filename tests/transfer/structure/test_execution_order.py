"""Order of execution, what operations do, and layers that meet whatever code they stand in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import nets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.alignment.leftovers import _least
from transfer.alignment.regrouping import cut_like
from transfer.rearrangement import rearrangement
from transfer.structure.behaviour import agreement, facts_of
from transfer.structure.records import Block
from transfer.tracing.usage import trace_usage
from zoo_index.catalogues.timm_catalogue import build


class Residual(nn.Module):
    """A convolution and its norm beside a shortcut, in any order of registration and of execution."""

    def __init__(self, shortcut_first: bool) -> None:
        super().__init__()
        self.shortcut_first = shortcut_first
        names = ("shortcut", "conv") if shortcut_first else ("conv", "shortcut")
        for name in names:
            kernel = 1 if name == "shortcut" else 3
            setattr(self, name, nn.Conv2d(4, 4, kernel, padding=kernel // 2, bias=False))
        self.norm, self.last = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shortcut_first:
            other = self.shortcut(x)
            return other + self.last(self.norm(self.conv(x)))
        branch = self.last(self.norm(self.conv(x)))
        return branch + self.shortcut(x)


class Lists(nn.Module):
    """Convolutions in one list, norms in another."""

    def __init__(self, in_lists: bool) -> None:
        super().__init__()
        convs = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(4)]
        norms = [nn.BatchNorm2d(8) for _ in convs]
        self.in_lists = in_lists
        if in_lists:
            self.norms, self.convs = nn.ModuleList(norms), nn.ModuleList(convs)
        else:
            pairs = zip(convs, norms, strict=True)
            self.body = nn.Sequential(*(layer for c, n in pairs for layer in (c, n, nn.ReLU())))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.in_lists:
            result: torch.Tensor = self.body(x)
            return result
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x)).relu()
        return x


def order_of(model: nn.Module) -> list[str]:
    usage = trace_usage(model)
    assert usage is not None
    return [name.removesuffix(".weight") for name in usage.order if name.endswith("weight")]


@pytest.mark.parametrize("shortcut_first", [False, True])
def test_the_longer_branch_comes_first_whatever_runs_first(shortcut_first: bool) -> None:
    assert order_of(Residual(shortcut_first)) == ["conv", "norm", "last", "shortcut"]


def test_layers_in_two_lists_run_in_turns() -> None:
    expected = [f"{kind}.{i}" for i in range(4) for kind in ("convs", "norms")]
    assert order_of(Lists(True)) == expected
    items = transfer.standardize(Lists(True)).items
    assert [layer.path for item in items for layer in item.layers] == expected


def test_what_is_not_used_stays_behind_what_was_registered_before_it() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first, self.spare = (nn.Linear(5, 5) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.last(self.first(x))
            return result

    paths = [layer.path for layer in transfer.standardize(Unused()).layers()]
    assert paths == ["first", "spare", "last"]


def test_a_network_that_cannot_run_keeps_its_order() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b, self.a = nn.Linear(5, 4), nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("not this")

    assert trace_usage(Broken()) is None
    assert [layer.path for layer in transfer.standardize(Broken()).layers()] == ["b", "a"]
    assert "order of registration" in transfer.plan(nets.mlp(3, 5, 4), Broken()).note
    assert transfer.plan(nets.mlp(3, 5, 4), nets.mlp(3, 5, 4)).note == ""


@torch.no_grad()
@pytest.mark.parametrize("make", [Residual, Lists])
@pytest.mark.parametrize("back", [False, True])
def test_another_order_of_code_is_the_same_network(make: type[nn.Module], back: bool) -> None:
    source, target = nets.randomise(make(back), 1).eval(), nets.randomise(make(not back), 2).eval()
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors} == {"copied"}
    assert report.function is not None
    assert report.function.verdict == "equal"


class Small(nn.Module):
    """A convolution, its norm and an activation as a module of its own."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.conv(x)).relu()
        return result


def grouped(sizes: Sequence[int]) -> nn.Module:
    """A plain network of ten convolutions, cut into stages of so many."""
    widths = iter([3, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64])
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in
              itertools.pairwise(widths)]  # fmt: skip
    parts = iter(layers)
    return nn.Sequential(*(nn.Sequential(*(layer for _ in range(n) for layer in next(parts))) for n in sizes))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(10,), (1,) * 10, (2, 3, 5), (5, 5), (3, 1, 4, 2)])
@pytest.mark.parametrize("others", [(10,), (2, 2, 3, 3)])
def test_how_code_groups_layers_does_not_matter(sizes: Sequence[int], others: Sequence[int]) -> None:
    source, target = nets.randomise(grouped(sizes), 1).eval(), nets.randomise(grouped(others), 2).eval()
    assert transfer.similarity(source, target) == pytest.approx(1)
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors} == {"copied"}
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(target(x), source(x))


def test_the_source_is_cut_where_its_counterparts_are_and_keeps_its_layers() -> None:
    source, target = transfer.standardize(grouped((5, 5))), transfer.standardize(grouped((2, 3, 5)))
    cut = cut_like(source, target)
    assert list(cut.layers()) == list(source.layers())
    assert [len(item.layers) for item in cut.items] == [len(item.layers) for item in target.items]
    assert all(isinstance(a, Block) == isinstance(b, Block) for a, b in zip(cut.items, target.items, strict=True))


@given(st.integers(1, 5), st.integers(0, 4), st.randoms())
def test_as_many_as_there_are_move_least(n: int, n_more: int, random: Random) -> None:
    moved = np.array([[random.random() for _ in range(n + n_more)] for _ in range(n)])
    found = list(_least(moved))
    assert sorted(i for i, _ in found) == list(range(n))
    columns = [j for _, j in sorted(found)]
    assert columns == sorted(set(columns))
    best = min(sum(moved[i, j] for i, j in enumerate(c)) for c in itertools.combinations(range(n + n_more), n))
    assert sum(moved[i, j] for i, j in found) == pytest.approx(best)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((7,), (1, 7, 1)), ((1, 1, 7), (7,)), ((5, 7), (1, 5, 7)), ((1, 5, 7), (5, 7)),
        ((6, 4 * 3 * 3), (6, 4, 3, 3)), ((6, 4, 3, 3), (6, 36)), ((25, 3), (1, 3, 5, 5)), ((1, 3, 5, 5), (25, 3)),
    ],
)  # fmt: skip
def test_the_same_numbers_in_another_shape(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    there, back = rearrangement(source, target), rearrangement(target, source)
    assert there is not None
    assert back is not None
    value = torch.arange(float(np.prod(source))).reshape(source)
    assert there(value).shape == target
    assert torch.equal(back(there(value)), value)
    if source == (25, 3):
        assert torch.equal(there(value)[0, 1], value[:, 1].reshape(5, 5))  # head by head


def test_shapes_that_hold_something_else_are_left_alone() -> None:
    assert rearrangement((7, 5), (5, 7)) is None
    assert rearrangement((7, 5, 3, 3), (7, 5, 1, 9)) is None
    assert rearrangement((4, 4), (4, 4)) is None
    assert rearrangement((7, 1, 1), (7,)) is None  # dimensions of size 1 at the end are dropped as they are
    assert rearrangement((8, 4), (8, 4, 1, 1)) is None  # a matrix is a convolution of one position already


def test_facts_are_the_same_in_another_library_and_tell_activations_and_strides() -> None:
    import torchvision

    ours, theirs = transfer.standardize(torchvision.models.resnet18()), transfer.standardize(build("resnet18"))
    assert facts_of(ours) == facts_of(theirs)
    assert facts_of(ours)[0] == "conv2d stride=2 padding=3"
    assert facts_of(ours)[1] == "batch_norm; relu; max_pool2d kernel_size=3 stride=2 padding=1"
    assert agreement(ours, theirs) == 1
    silu = transfer.standardize(build("resnet18", act_layer="silu"))
    assert 0.5 < agreement(silu, theirs) < 0.7  # norms with another activation behind them
    header = transfer.standardize(build("resnet18").state_dict())  # of which nothing is known
    assert 0.999 < agreement(header, theirs) < 1
    assert agreement(theirs, header) == 1


def test_what_tensors_are_called_tells_apart_what_shapes_and_facts_do_not() -> None:
    """Rotary positions leave no trace in either."""
    names = "vit_large_patch16_rope_ape_224", "deit3_large_patch16_224"
    rotary, plain = (transfer.standardize(build(name)) for name in names)
    assert transfer.similarity(plain, rotary) == 1
    assert agreement(rotary, rotary) == 1
    assert 0.999 < agreement(plain, rotary) < 1


def test_matrices_with_inputs_first_are_known_by_use_and_by_their_bias() -> None:
    class Multiplied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(6, 9)), nn.Parameter(torch.randn(9))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.addmm(self.bias, x, self.weight)

    made = nn.Sequential(nn.Linear(4, 6), Multiplied())
    by_use = next(t for t in transfer.standardize(made).tensors() if t.name == "1.weight")
    by_bias = next(t for t in transfer.standardize(made.state_dict()).tensors() if t.name == "1.weight")
    assert by_use == by_bias
    assert (by_bias.shape, by_bias.is_input_first) == ((9, 6), True)
    target = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 9))
    transfer.transfer(made.state_dict(), target)
    assert torch.equal(target[1].weight, made[1].weight.T)


def test_what_writes_the_output_takes_nothing_but_an_output_of_as_many_classes() -> None:
    def network(n: int, kernel: int) -> nn.Module:
        body = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)]
        return nn.Sequential(*body, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, n, kernel, padding=kernel // 2))

    target = network(5, 3)
    assert transfer.plan(network(5, 3), target).coverage == 1
    rows = {row.name: row for row in transfer.plan(network(7, 3), target).tensors}
    assert (rows["6.weight"].status, rows["3.weight"].status) == ("fresh", "copied")
    headless = network(5, 3)[:6]
    assert {row.status for row in transfer.plan(network(7, 3), headless).tensors} == {"copied"}


class Experts(nn.Module):
    """Mixes kernels by weights that are computed from the input, as conditional convolutions do."""

    def __init__(self) -> None:
        super().__init__()
        self.routing, self.experts = nn.Linear(3, 4), nn.Module()
        self.experts.weight = nn.Parameter(torch.randn(4, 8 * 3))
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernels = self.routing(x.mean((2, 3))).sigmoid() @ self.experts.get_parameter("weight")
        mixed = torch.einsum("noc,nchw->nohw", kernels.view(-1, 8, 3), x)
        result: torch.Tensor = self.last(mixed.mean((2, 3)))
        return result


def test_a_header_of_the_same_names_is_read_with_the_directions_that_were_seen() -> None:
    model = Experts()
    rows = transfer.plan({name: tuple(x.shape) for name, x in model.state_dict().items()}, model).tensors
    assert [(row.name, row.status, row.source) for row in rows] == [
        (name, "copied", name) for name in model.state_dict()
    ]
