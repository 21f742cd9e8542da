"""Linear layers behind flattened maps: channels find their own, however places and channels interleave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import transfer
from transfer.channels.flattening import LEADING_BY_PLACE, MovePlaces
from transfer.options import Options
from transfer.tracing.inputs import example_of

ORDERS = ("by channel", "by place")
NARROW, WIDE = 8, 16


class Flat(nn.Module):
    """Convolutions with batch norm, a map of `side` by `side` places that is flattened, and two linear layers."""

    def __init__(self, width: int, order: str, *, side: int = 4, image: int = 16, hidden: int = 12) -> None:
        super().__init__()
        self.order = order
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(2 * width)
        self.pool = nn.AvgPool2d(image // side)
        self.hidden = nn.Linear(2 * width * side * side, hidden)
        self.head = nn.Linear(hidden, 5)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map."""
        x = self.first_norm(self.first(x).relu())  # the norm behind the activation
        return self.pool(self.second_norm(self.second(x)).relu())

    def flat(self, x: torch.Tensor) -> torch.Tensor:
        """Flatten the map."""
        return (x.permute(0, 2, 3, 1) if self.order == "by place" else x).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify an image."""
        return self.head(self.hidden(self.flat(self.features(x))).relu())


class TwoHeads(Flat):
    """Two linear layers read the map."""

    def __init__(self, width: int, order: str) -> None:
        super().__init__(width, order)
        self.other = nn.Linear(self.hidden.in_features, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what both make of it."""
        flat = self.flat(self.features(x))
        return torch.cat([self.head(self.hidden(flat).relu()), self.other(flat)], 1)


class TwoMaps(nn.Module):
    """Two flattened maps of other widths and sizes are concatenated."""

    def __init__(self, width: int, order: str) -> None:
        super().__init__()
        self.order = order
        self.a, self.b = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(3, 2 * width, 3, padding=1)
        self.head = nn.Linear(4 * width + 9 * 2 * width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify an image."""
        maps = [nn.functional.adaptive_avg_pool2d(conv(x).relu(), n) for conv, n in ((self.a, 2), (self.b, 3))]
        if self.order == "by place":
            maps = [each.permute(0, 2, 3, 1) for each in maps]
        return self.head(torch.cat([each.flatten(1) for each in maps], 1))


class Frames(nn.Module):
    """Takes frames of a signal without a dimension for channels, as pitch networks do; one dimension of places."""

    def __init__(self, width: int, order: str) -> None:
        super().__init__()
        self.order = order
        self.first = nn.Conv2d(1, width, (16, 1), stride=(4, 1))
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, (8, 1))
        self.second_norm = nn.BatchNorm2d(2 * width)
        self.n_features = 2 * width * 6
        self.head = nn.Linear(self.n_features, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify frames of shape (N, 1024)."""
        x = nn.functional.pad(x[:, None, :, None], (0, 0, 6, 6))
        x = self.first_norm(self.first(x).relu())
        x = nn.functional.max_pool2d(x, (8, 1))
        x = self.second_norm(self.second(x).relu())
        x = nn.functional.max_pool2d(x, (4, 1))
        x = x.permute(0, 2, 1, 3) if self.order == "by place" else x
        return torch.sigmoid(self.head(x.reshape(-1, self.n_features)))


CLASSES: list[Callable[[int, str], nn.Module]] = [Flat, TwoHeads, TwoMaps, Frames]


def perturbed(model: nn.Module, seed: int = 1) -> nn.Module:
    """Give a network statistics, biases and scales of its own, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator).to(tensor))
    return model


def example_for(model: nn.Module, image: int = 16) -> torch.Tensor:
    shape = (3, 1024) if isinstance(model, Frames) else (3, 3, image, image)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@torch.no_grad()
def assert_same(a: nn.Module, b: nn.Module, tolerance: float = 1e-9) -> None:
    example = example_for(a)
    expected = a(example)
    assert float((b(example) - expected).abs().max()) <= tolerance * float(expected.abs().max())


def made(kind: Callable[[int, str], nn.Module], width: int, order: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return perturbed(kind(width, order), seed)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_wider_network_computes_what_the_narrow_one_did(
    kind: Callable[[int, str], nn.Module], order: str
) -> None:
    source, target = made(kind, NARROW, order, 1), made(kind, WIDE, order, 2)
    report = transfer.transfer(source, target)
    assert_same(source, target)
    assert {row.status for row in report.tensors} <= {"copied", "grown"}


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_the_source_may_be_a_file(tmp_path: Path, order: str, is_file: bool) -> None:
    source, target = made(Flat, NARROW, order, 1), made(Flat, WIDE, order, 2)
    torch.save(source.state_dict(), tmp_path / "source.pth")
    transfer.transfer(tmp_path / "source.pth" if is_file else source.state_dict(), target)
    assert_same(source, target)


def embedded(kind: Callable[[int, str], nn.Module], order: str) -> tuple[nn.Module, nn.Module]:
    """Return a narrow network and a wide one that computes the same: its other channels are not read."""
    narrow, wide = made(kind, NARROW, order, 1), made(kind, WIDE, order, 2)
    transfer.transfer(narrow, wide)
    return narrow, wide


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", CLASSES)
def test_leading_channels_of_a_map_are_kept_together(kind: Callable[[int, str], nn.Module], order: str) -> None:
    narrow, wide = embedded(kind, order)
    target = made(kind, NARROW, order, 3)
    transfer.transfer(wide, target, options=Options(channels="leading", rescale=False, compensate=False))
    assert_same(narrow, target)


def shuffled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Permute the hidden channels of a `Flat` or `Frames`, which leaves its function as it is."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    width = len(state["first.bias"])
    orders = {"first": torch.randperm(width, generator=generator)}
    orders["second"] = torch.randperm(2 * width, generator=generator)
    for name, tensor in state.items():
        layer = name.partition("_")[0].partition(".")[0]
        if layer in orders and tensor.dim():
            state[name] = tensor[orders[layer]]
    state["second.weight"] = state["second.weight"][:, orders["first"]]
    for name in ("hidden.weight", "other.weight", *(("head.weight",) if isinstance(model, Frames) else ())):
        if name in state:
            value = state[name]
            shape = (-1, 2 * width) if model.order == "by place" else (2 * width, -1)
            dim = 2 if model.order == "by place" else 1
            state[name] = value.reshape(len(value), *shape).index_select(dim, orders["second"]).reshape(value.shape)
    changed = made(type(model), width, str(model.order), 5)
    changed.load_state_dict(state)
    return changed


@pytest.mark.parametrize(
    ("kind", "order", "is_file"),
    [
        *((kind, order, False) for kind in (Flat, TwoHeads, Frames) for order in ORDERS),
        *((Flat, order, True) for order in ORDERS),
        # shapes alone tell neither six places of a channel from six other things, nor a second result from what
        # is read later
        (Frames, "by place", True),
    ],
)
def test_important_channels_are_found_wherever_they_are(
    kind: Callable[[int, str], nn.Module], order: str, is_file: bool
) -> None:
    narrow, wide = embedded(kind, order)
    other = shuffled(wide)
    assert_same(wide, other)
    results = []
    for model in (wide, other):
        target = made(kind, NARROW, order, 3)
        transfer.transfer(
            model.state_dict() if is_file else model, target, options=Options(rescale=False, compensate=False)
        )
        results.append(target)
        assert_same(narrow, target)  # channels that nobody reads are left out
    assert_same(*results)


@pytest.mark.parametrize("order", ORDERS)
def test_a_map_of_more_places_is_shared_out(order: str) -> None:
    """Exact, as the source pools the map that the target flattens."""
    torch.manual_seed(0)
    for sides in ((2, 4), (1, 4)):
        source = perturbed(Flat(NARROW, order, side=sides[0]), 1)
        target = perturbed(Flat(WIDE, order, side=sides[1]), 2)
        report = transfer.transfer(source, target)
        assert_same(source, target)
        row = next(row for row in report.tensors if row.name == "hidden.weight")
        assert row.operator == LEADING_BY_PLACE


@pytest.mark.parametrize("order", ORDERS)
def test_a_coarser_map_gets_the_sum_of_the_places(order: str) -> None:
    torch.manual_seed(0)
    source, target = (perturbed(Flat(NARROW, order, side=side), side) for side in (4, 2))
    transfer.transfer(source, target)
    for each in (source, target):
        each.pool = nn.AdaptiveAvgPool2d(2)
    with torch.no_grad():
        x = source.features(example_for(source))
        whole = source.flat(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        assert torch.allclose(source.hidden(whole), target.hidden(target.flat(x)))


def test_places_are_shared_in_proportion_to_the_area() -> None:
    value = torch.rand(3, 5 * 9, dtype=torch.float64)
    for by_place in (False, True):
        moved = MovePlaces(5, (3, 3), (2, 2), by_place)(value)
        layout = (3, 4, 5) if by_place else (3, 5, 4)
        before = value.reshape(3, 9, 5) if by_place else value.reshape(3, 5, 9).movedim(1, 2)
        after = moved.reshape(layout) if by_place else moved.reshape(layout).movedim(1, 2)
        assert torch.allclose(before.sum(1), after.sum(1))
        corner = before[:, 0] + (before[:, 1] + before[:, 3]) / 2 + before[:, 4] / 4
        assert torch.allclose(after[:, 0], corner)


def test_shapes_alone_take_a_map_channel_by_channel() -> None:
    source, target = Flat(NARROW, "by channel"), Flat(WIDE, "by channel", side=2)
    rows = {row.name: row for row in transfer.plan(source.state_dict(), target.state_dict()).tensors}
    assert rows["hidden.weight"].transform == MovePlaces(2 * NARROW, (4, 4), (2, 2), by_place=False)
    assert rows["hidden.weight"].n_written == 12 * 2 * NARROW * 4


def taken_by(model: nn.Module) -> torch.Tensor | None:
    example = example_of(model)
    return None if example is None else example.tensors()[0]


@pytest.mark.parametrize("side", [28, 50, 97, 231])
def test_the_size_of_an_image_is_found_that_suits_the_linear_layer(side: int) -> None:
    n = ((side - 2) // 2 - 2) // 2
    layers = [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(6 * n * n, 2)).to("meta")
    found = taken_by(model)
    assert found is not None
    assert found.shape[-1] in range(side - side % 2 - 2, side + 4)
    assert model(found).shape == (1, 2)


def test_a_map_viewed_as_several_rows_is_too_large() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 * 31 * 31, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.conv(x).view(-1, 8 * 31 * 31))

    found = taken_by(Viewed().to("meta"))
    assert found is not None
    assert found.shape == (1, 3, 33, 33)


def test_the_length_of_a_signal_is_found() -> None:
    model = nn.Sequential(nn.Conv1d(2, 8, 9, stride=4), nn.Flatten(), nn.Linear(8 * 2500, 10)).to("meta")
    found = taken_by(model)
    assert found is not None
    assert model(found).shape == (1, 10)


def test_no_square_image_suits_an_oblong_map() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 7 * 11, 3)).to("meta")
    assert taken_by(model) is None
