"""Networks as people write them themselves: the same function in two ways of writing, equal after a transfer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as f

import transfer

Build = Callable[[], nn.Module]
WIDTH = 12


def changed(model: nn.Module) -> nn.Module:
    """Move all values a little; a variance stays positive."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in {id(value): value for value in model.state_dict().values()}.values():
            if value.is_floating_point():
                value += 0.3 * torch.rand_like(value)
    return model.eval()


def check_equal(source: Build, target: Build, *inputs: torch.Tensor, **named: torch.Tensor) -> None:
    """Transfer one into the other: all is copied, and both compute the same."""
    one, other = changed(source()), target().eval()
    report = transfer.transfer(one, other)
    assert {row.status for row in report.tensors if "num_batches" not in row.name} == {"copied"}
    assert report.function is not None
    assert report.function.verdict == "equal"
    with torch.no_grad():
        torch.testing.assert_close(other(*inputs, **named), one(*inputs, **named), atol=1e-4, rtol=1e-4)


class ByHand(nn.Module):
    """A layer norm over one axis."""

    def __init__(self, names: tuple[str, str], axis: int = -1, shape: tuple[int, ...] = (WIDTH,)) -> None:
        super().__init__()
        self.names, self.axis = names, axis
        for name, value in zip(names, (torch.ones(shape), torch.zeros(shape)), strict=True):
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, shift = (getattr(self, name) for name in self.names)
        x = x - x.mean(self.axis, keepdim=True)
        y: torch.Tensor = scale * x / (x.square().mean(self.axis, keepdim=True) + 1e-5).sqrt() + shift
        return y


class ChannelsLast(nn.Module):
    """The layer norm of torch over the channels of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return result


def with_norm(norm: Build) -> nn.Module:
    return nn.Sequential(
        nn.Linear(7, WIDTH), norm(), nn.GELU(), nn.Linear(WIDTH, WIDTH), norm(), nn.Linear(WIDTH, 3)
    )


def map_with_norm(norm: Build) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 4, 4), norm(), nn.GELU(), nn.Conv2d(WIDTH, 5, 1), nn.AdaptiveAvgPool2d(1)
    )


NAMES = [("gamma", "beta"), ("a_2", "b_2"), ("g", "b"), ("lift", "push")]


@pytest.mark.parametrize("names", NAMES)
def test_norms_written_by_hand_meet_those_of_torch(names: tuple[str, str]) -> None:
    written, usual = partial(with_norm, partial(ByHand, names)), partial(with_norm, partial(nn.LayerNorm, WIDTH))
    x = torch.randn(2, 7)
    check_equal(written, usual, x)
    check_equal(usual, written, x)


@pytest.mark.parametrize("names", NAMES[:3])
def test_norms_written_by_hand_meet_those_of_torch_on_maps(names: tuple[str, str]) -> None:
    written = partial(map_with_norm, partial(ByHand, names, 1, (1, WIDTH, 1, 1)))
    usual = partial(map_with_norm, ChannelsLast)
    x = torch.randn(2, 3, 32, 32)
    check_equal(written, usual, x)
    check_equal(usual, written, x)


@pytest.mark.parametrize("names", NAMES[:3])
def test_files_of_norms_written_by_hand_are_read_as_norms(names: tuple[str, str], tmp_path: Path) -> None:
    one, other = changed(with_norm(lambda: ByHand(names))), with_norm(lambda: nn.LayerNorm(WIDTH))
    save_file(one.state_dict(), tmp_path / "w.safetensors")
    assert transfer.transfer(tmp_path / "w.safetensors", other).coverage == 1
    x = torch.randn(2, 7)
    with torch.no_grad():
        torch.testing.assert_close(other(x), one(x), atol=1e-4, rtol=1e-4)


def test_a_token_is_no_shift_of_a_scale() -> None:
    class Token(nn.Module):
        """A layer scale, then a token that is added."""

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.gamma = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.ones(WIDTH))
            self.cls, self.head = nn.Parameter(torch.zeros(1, 1, WIDTH)), nn.Linear(WIDTH, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(self.gamma * self.fc(x) + self.cls)
            return result

    kinds = {layer.path: layer.kind for layer in transfer.standardize(Token()).layers()}
    assert kinds["gamma"] == "parameter:gamma"
    assert kinds["cls"].startswith("parameter")


class Branches(nn.Module):
    """Two convolutions and the input itself, normalised and added up, in some order."""

    def __init__(self, order: tuple[int, ...], n_in: int, n_out: int) -> None:
        super().__init__()
        parts = [
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.Conv2d(n_in, n_out, 1, bias=False),
            nn.Identity(),
        ]
        self.parts = nn.ModuleList([parts[i] for i in order])
        self.norms = nn.ModuleList([nn.BatchNorm2d(n_out) for _ in order])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        terms = [norm(part(x)) for part, norm in zip(self.parts, self.norms, strict=True)]
        total: torch.Tensor = terms[0]
        for term in terms[1:]:
            total = total + term
        return total.relu()


class Stack(nn.Module):
    def __init__(self, *orders: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Branches(o, 3 if not i else 16, 16) for i, o in enumerate(orders)))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc(self.blocks(x).mean((2, 3)))
        return result


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_terms_of_a_sum_may_be_written_in_any_order(order: tuple[int, ...]) -> None:
    usual, other = partial(Stack, (0, 1), (0, 1, 2), (0, 1, 2)), partial(Stack, (1, 0), order, order)
    x = torch.randn(2, 3, 16, 16)
    check_equal(usual, other, x)
    check_equal(other, usual, x)


class Graph(nn.Module):
    """What a node is, and what its neighbours are; one of the two layers has the bias."""

    def __init__(self, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        sizes = ((WIDTH, 16), (16, 16))
        self.own = nn.ModuleList([nn.Linear(a, b, bias=False) for a, b in sizes])
        self.others = nn.ModuleList([nn.Linear(a, b) for a, b in sizes])
        self.out = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for own, others in zip(self.own, self.others, strict=True):
            terms = own(x), others(x.flip(0))
            x = (terms[0] + terms[1] if self.is_first else terms[1] + terms[0]).relu()
        result: torch.Tensor = self.out(x)
        return result


def test_layers_that_differ_in_their_bias_alone_are_told_apart() -> None:
    one, other = partial(Graph, is_first=True), partial(Graph, is_first=False)
    x = torch.randn(5, WIDTH)
    check_equal(one, other, x)
    check_equal(other, one, x)


class Heads(nn.Module):
    """Several results, in some order."""

    def __init__(self, *, is_turned: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.boxes, self.classes, self.is_turned = nn.Linear(16, 4), nn.Linear(16, 5), is_turned

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.body(x)
        found = {"boxes": self.boxes(h), "classes": self.classes(h)}
        return {name: found[name] for name in sorted(found, reverse=self.is_turned)}


def test_results_may_come_in_any_order() -> None:
    one, other = changed(Heads(is_turned=False)), Heads(is_turned=True).eval()
    report = transfer.transfer(one, other)
    assert all(row.status == "copied" and row.source == row.name for row in report.tensors)


class Tied(nn.Module):
    """An encoder whose decoder has the same weight, turned round."""

    def __init__(self, *, is_bare: bool) -> None:
        super().__init__()
        self.is_bare = is_bare
        self.encoder, self.middle = nn.Linear(20, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.shift = nn.Parameter(torch.zeros(20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.middle(self.encoder(x).relu()).relu()
        if self.is_bare:
            return z @ self.encoder.weight + self.shift
        return f.linear(z, self.encoder.weight.t(), self.shift)


def test_a_tied_weight_lies_as_it_was_used_first() -> None:
    one, other = partial(Tied, is_bare=False), partial(Tied, is_bare=True)
    x = torch.randn(2, 20)
    check_equal(one, other, x)
    check_equal(other, one, x)


class Frozen(nn.Module):
    """A batch norm of buffers, as detectors have it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((n,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def test_what_is_made_of_buffers_comes_behind_what_it_scales() -> None:
    def build(norm: Callable[[int], nn.Module]) -> nn.Module:
        layers = [
            nn.Conv2d(3, 8, 3),
            norm(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            norm(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        ]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5))

    check_equal(lambda: build(nn.BatchNorm2d), lambda: build(Frozen), torch.randn(2, 3, 16, 16))


class HeadFirst(nn.Module):
    """Registers its parts in the reverse order, and takes more than images."""

    def __init__(self, kind: str, *, is_reversed: bool) -> None:
        super().__init__()
        self.kind = kind
        parts: dict[str, nn.Module] = {
            "words": nn.Embedding(30, 16),
            "signal": nn.Conv1d(1, 16, 9, 4),
            "numbers": nn.Linear(5, 16),
            "scale": nn.BatchNorm1d(16),
            "memory": nn.GRU(16, 16, batch_first=True),
            "image": nn.Conv2d(3, 16, 4, 4),
            "mix": nn.Linear(16, 24),
            "head": nn.Linear(24, 3),
        }
        wanted = [name for name in parts if name in KINDS[kind] or name in ("mix", "head")]
        for name in reversed(wanted) if is_reversed else wanted:
            self.add_module(name, parts[name])

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        h = 0
        if "words" in KINDS[self.kind]:
            h = self.words(x)
            h = self.memory(h)[0].mean(1) if "memory" in KINDS[self.kind] else h.mean(1)
        if "signal" in KINDS[self.kind]:
            h = self.memory(self.signal(x).transpose(1, 2))[0].mean(1)
        if "image" in KINDS[self.kind]:
            h = self.image(x).mean((2, 3))
        if "numbers" in KINDS[self.kind]:
            assert y is not None
            h = self.scale(self.numbers(y)) + h
        result: torch.Tensor = self.head(self.mix(h).relu())
        return result


class Two(HeadFirst):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # needs both
        return super().forward(x, y)


KINDS: dict[str, tuple[str, ...]] = {
    "words": ("words",),
    "words in a memory": ("words", "memory"),
    "signal": ("signal", "memory"),
    "words and numbers": ("words", "numbers", "scale"),
    "image and numbers": ("image", "numbers", "scale"),
}
INPUTS: dict[str, tuple[Any, ...]] = {
    "words": (torch.randint(0, 30, (2, 9)),),
    "words in a memory": (torch.randint(0, 30, (2, 9)),),
    "signal": (torch.randn(2, 1, 256),),
    "words and numbers": (torch.randint(0, 30, (2, 9)), torch.randn(2, 5)),
    "image and numbers": (torch.randn(2, 3, 32, 32), torch.randn(2, 5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_guessed_wherever_the_first_layer_is_registered(kind: str) -> None:
    made = Two if len(INPUTS[kind]) == 2 else HeadFirst
    one, other = partial(made, kind, is_reversed=False), partial(made, kind, is_reversed=True)
    assert transfer.standardize(other()).is_executed
    check_equal(one, other, *INPUTS[kind])
    check_equal(other, one, *INPUTS[kind])


class Positions(nn.Module):
    """Tokens and places, of which there are as many as channels."""

    def __init__(self, *, is_bare: bool) -> None:
        super().__init__()
        self.words, self.fc, self.norm, self.out = (
            nn.Embedding(60, 32), nn.Linear(32, 48), nn.LayerNorm(48), nn.Linear(48, 5),
        )  # fmt: skip
        self.places: Any = nn.Parameter(torch.randn(32, 32)) if is_bare else nn.Embedding(32, 32)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        n = ids.shape[1]
        places = self.places[:n] if isinstance(self.places, nn.Parameter) else self.places(torch.arange(n))
        result: torch.Tensor = self.out(self.norm(self.fc(self.words(ids) + places)))
        return result


@pytest.mark.parametrize("is_bare", [True, False])
def test_a_square_table_of_a_sorted_file_is_not_turned(is_bare: bool, tmp_path: Path) -> None:
    one, other = changed(Positions(is_bare=is_bare)), Positions(is_bare=not is_bare).eval()
    called = {"words": "embed_tokens", "places": "embed_positions", "fc": "dense", "norm": "ln", "out": "classify"}
    state = {
        ".".join([called[name.split(".")[0]], *name.split(".")[1:]]): v for name, v in one.state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    transfer.transfer(tmp_path / "w.safetensors", other)
    ids = torch.randint(0, 60, (2, 12))
    with torch.no_grad():
        torch.testing.assert_close(other(ids), one(ids), atol=1e-4, rtol=1e-4)


def test_a_scale_in_another_shape_stands_in_no_way_of_narrowing() -> None:
    class Scaled(nn.Module):
        def __init__(self, width: int, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 16, 1, bias=False)
            self.norm, self.fc = nn.BatchNorm2d(16), nn.Linear(16, 4)
            self.gamma = nn.Parameter(torch.ones(16, *shape))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.b(self.a(x).relu())) * self.gamma.view(1, -1, 1, 1)
            result: torch.Tensor = self.fc(x.mean((2, 3)))
            return result

    source, target = changed(Scaled(12, (1, 1))), Scaled(8, ())
    rows = {row.name: row for row in transfer.transfer(source, target).tensors}
    assert rows["gamma"].status == "copied"


def test_a_file_for_a_network_that_cannot_run_comes_with_a_note(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] != 5:
                raise ValueError("expected five numbers")
            return x

    names = {
        "c.weight": torch.rand(6, 6),
        "c.bias": torch.rand(6),
        "d.weight": torch.rand(6, 6),
        "d.bias": torch.rand(6),
    }
    save_file(names, tmp_path / "w.safetensors")
    assert "could not be run" in transfer.plan(tmp_path / "w.safetensors", Odd()).note
    assert "could not be run" in transfer.plan(names, Odd()).note
    save_file(Odd().state_dict(), tmp_path / "own.safetensors")
    assert transfer.plan(tmp_path / "own.safetensors", Odd()).note == ""
