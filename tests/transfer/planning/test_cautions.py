"""What a plan takes for granted is said in its note."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import transfer


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, rows: int = 20, *, attribute: str = "num_heads") -> None:
        super().__init__()
        self.attribute = attribute
        setattr(self, attribute, heads)
        self.words = nn.Embedding(rows, width)
        self.places = nn.Embedding(8, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.head = nn.Linear(width, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, getattr(self, self.attribute), -1).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        return self.head(self.proj(x).mean(1))


IDS = torch.zeros(1, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Attention(12, 3), ""),  # tells its heads
        (Attention(12, 3).state_dict(), "which are mixed if they are not as wide as the target's (name its code"),
        (Attention(24, 3).state_dict(), ""),  # as wide as the target: nothing is cut
        (Attention(24, 3), "other numbers of heads (qkv.weight has 6, its source 3"),
        (Attention(24, 6, 30), "words.weight has 20 rows, there are 30): rows are taken by number"),
        (Attention(12, 3, attribute="h"), "target's (an attribute num_heads of the module tells it"),
        (nn.Sequential(nn.Conv2d(3, 72, 3), nn.Conv2d(72, 24, 1)).state_dict(), ""),  # no attention
    ],
    ids=["module", "tensors", "equal widths", "other heads", "more rows", "unsaid", "no attention"],
)
def test_what_is_taken_for_granted_is_said(source: nn.Module | dict[str, torch.Tensor], said: str) -> None:
    note = transfer.plan(source, Attention(24, 6), example=(IDS,)).note
    assert said in note
    assert bool(said) == bool(note)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.Flatten(2))
        self.text = Attention(24, 6)

    def forward(self, image: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.image(image).mean() + self.text(ids)


def test_what_is_taken_for_granted_of_a_further_source_is_said() -> None:
    target, image = Both(), nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)).state_dict()
    plan = transfer.plan([image, Attention(24, 6, 30)], target, example=(torch.rand(1, 3, 9, 9), IDS))
    assert "text.words.weight has 20 rows, there are 30" in plan.note
    assert not transfer.plan([image, Attention(24, 6)], target, example=(torch.rand(1, 3, 9, 9), IDS)).note


class Encoder(nn.Module):
    def __init__(self, before: nn.Module, width: int, heads: int) -> None:
        super().__init__()
        self.before = before
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        return self.layers(x.flatten(2).transpose(1, 2) if x.dim() > 3 else x).mean(1)


class ImageAndText(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = Encoder(nn.Conv2d(3, 32, 8, 8), 32, 4), Encoder(nn.Embedding(30, 64), 64, 8)

    def forward(self, image: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.image(image), self.text(ids)], 1)


def test_what_holds_of_two_sources_is_said_once() -> None:
    image = Encoder(nn.Conv2d(3, 24, 8, 8), 24, 2).state_dict()
    text = Encoder(nn.Embedding(20, 48), 48, 4).state_dict()
    example = torch.rand(1, 3, 32, 32), IDS
    note = transfer.plan([image, text], ImageAndText(), example=example, source_names=["a", "b"]).note
    assert note.startswith("a, b: the source does not tell")
    assert note.count("are mixed") == 1
    assert "; b: tables of other lengths" in note
