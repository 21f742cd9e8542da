"""Of assignments that score the same, the one that computes the same is taken."""

from __future__ import annotations

import torch
from nets import perturbed
from torch import nn

import transfer

WIDTH = 8


class Attention(nn.Module):
    """Attention in one of two orders: of registration, of execution, and of the product's operands."""

    def __init__(self, *, is_swapped: bool) -> None:
        super().__init__()
        for name in ("key", "query", "value") if is_swapped else ("query", "key", "value"):
            setattr(self, name, nn.Linear(WIDTH, WIDTH))
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.is_swapped = is_swapped

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_swapped:
            scores = (self.key(x) @ self.query(x).transpose(1, 2)).transpose(1, 2)
        else:
            scores = self.query(x) @ self.key(x).transpose(1, 2)
        result: torch.Tensor = self.proj(scores.softmax(-1) @ self.value(x))
        return result


class Encoder(nn.Module):
    """Two attentions behind an embedding."""

    def __init__(self, *, is_swapped: bool, relu: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(3, WIDTH)
        self.blocks = nn.ModuleList(Attention(is_swapped=is_swapped) for _ in range(2))
        self.head = nn.Linear(WIDTH, 4)
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        result: torch.Tensor = self.head(x.relu() if self.relu else x)
        return result


def example() -> torch.Tensor:
    return torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


def test_query_and_key_are_exchanged_where_that_computes_the_same() -> None:
    torch.manual_seed(0)
    source, target = perturbed(Encoder(is_swapped=True)), Encoder(is_swapped=False)
    report = transfer.transfer(source, target, example=example())
    assert report.function is not None
    assert report.function.verdict == "equal"
    assert "exchanged" in report.note
    found = target.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(found[name], value), name
    assert {row.name: row.source for row in report.tensors} == {name: name for name in found}


def test_without_proof_nothing_is_exchanged() -> None:
    torch.manual_seed(0)
    source, target = perturbed(Encoder(is_swapped=True)), Encoder(is_swapped=False)
    report = transfer.transfer(source, target, example=example(), verify=False)
    assert report.note == ""
    assert torch.equal(target.get_parameter("blocks.0.query.weight"), source.get_parameter("blocks.0.key.weight"))


def test_the_first_assignment_stays_where_none_computes_the_same() -> None:
    torch.manual_seed(0)
    source, target = perturbed(Encoder(is_swapped=False)), Encoder(is_swapped=False, relu=True)
    report = transfer.transfer(source, target, example=example())
    assert report.function is not None
    assert report.function.verdict != "equal"
    assert report.note == ""
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    assert {row.name: row.source for row in report.tensors} == {name: name for name in target.state_dict()}


class Pooled(nn.Module):
    """An encoder of like layers that others may hold as well, pooled in some way."""

    def __init__(self, encoder: nn.Module, pool: str) -> None:
        super().__init__()
        self.encoder, self.head, self.pool = encoder, nn.Linear(8, 10), pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(getattr(self.encoder(x), self.pool)((2, 3)))
        return result


def test_nothing_is_exchanged_where_source_and_target_share_memory() -> None:
    blocks = [
        nn.Sequential(nn.Conv2d(i, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)) for i in (3, 8, 8)
    ]
    encoder = perturbed(nn.Sequential(*blocks))
    source, target = Pooled(encoder, "mean"), Pooled(encoder, "amax")
    before = {name: value.clone() for name, value in source.state_dict().items()}
    transfer.transfer(source, target)
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())
