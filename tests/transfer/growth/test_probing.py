"""Asking parts of the target what they do: strange modules do no harm."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import transfer


class Strange(nn.Module):
    """Residual block that behaves oddly in one way."""

    def __init__(self, width: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.norm1, self.fc1 = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.calls: list[str] = []
        self.lock = threading.Lock() if how == "lock" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to the same shape."""
        if self.how == "exit":
            raise SystemExit(3)
        if self.how == "print":
            print("hello")
        if self.how == "random":
            x = x + 0 * torch.randn(1)
        self.calls.append("called")
        return x + self.fc2(torch.relu(self.fc1(self.norm1(x))))


class Pair(nn.Module):
    """Block of two inputs, which does not return its first one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.c2, self.n2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Map two images of `width` channels to one."""
        return torch.relu(self.n2(self.c2(torch.relu(self.n1(self.c1(x))) + y)))


def network(how: str, depth: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 6), nn.Sequential(*(Strange(6, how) for _ in range(depth))), nn.LayerNorm(6), nn.Linear(6, 4)
    )


@pytest.mark.parametrize("how", ["exit", "lock", "random", "print", "usual"])
def test_strange_blocks_do_no_harm(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = network(how, 2), network(how, 4)
    fired: list[str] = []
    for block in target[1]:
        block.register_forward_hook(lambda *_: fired.append("hook"))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    report = transfer.transfer(source, target)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert fired == []
    assert all(block.calls == [] for block in target[1])
    assert (report.counts()["identity"] > 0) == (how in ("random", "print", "usual"))
    assert capsys.readouterr().out == ""  # where the command line writes its JSON


def test_a_block_of_two_inputs_that_is_not_residual_is_not_zeroed() -> None:
    class Net(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)
            self.blocks = nn.ModuleList(Pair(8) for _ in range(depth))
            self.fc = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = y = self.stem(x)
            for block in self.blocks:
                x = block(x, y)
            return self.fc(x.mean((2, 3)))

    assert transfer.transfer(Net(2), Net(4)).counts()["identity"] == 0


@pytest.mark.parametrize(
    "extra",
    [nn.MultiheadAttention(8, 2), nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))],
)
def test_inserted_parts_of_any_kind_are_planned(extra: nn.Module) -> None:
    source = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 4))
    target = nn.Sequential(nn.Linear(3, 8), extra, nn.Linear(8, 4))
    target.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    assert len(transfer.plan(source, target).tensors) == len(target.state_dict())


def test_empty_and_scalar_tensors_are_planned() -> None:
    def header(width: int) -> dict[str, tuple[int, ...]]:
        return {"a.weight": (width, 0), "a.bias": (width,), "gain": (), "b.weight": (4, width), "b.bias": (4,)}

    assert len(transfer.plan(header(8), header(16)).tensors) == 5
