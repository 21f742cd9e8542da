"""One source in several places: each tower of a target gets all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nets
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

import transfer
from transfer.alignment.matching import plain_similarity
from transfer.alignment.scaling import scaled_similarity
from transfer.alignment.towers import find_towers, part_of, subtrees
from transfer.structure.records import Architecture, Block, Layer
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.zoo.zoo import Zoo


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add a branch."""
        return functional.relu(x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    """A small residual network; without classes it gives its features."""

    def __init__(self, width: int = 8, depths: Sequence[int] = (2, 2), n_in: int = 3, n_classes: int = 0) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(n_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.stages = nn.Sequential()
        for i, depth in enumerate(depths):
            blocks = (Residual(width << i) for _ in range(depth))
            self.stages.append(nn.Sequential(*blocks, nn.Conv2d(width << i, width << (i + 1), 3, 2, 1)))
        self.width = width << len(depths)
        self.fc = nn.Linear(self.width, n_classes) if n_classes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits or features."""
        x = functional.relu(self.norm(self.stem(x)))
        out: torch.Tensor = self.fc(self.stages(x).mean((2, 3)))
        return out


class Views(nn.Module):
    """One tower per view, and a classifier on all they give."""

    def __init__(self, *towers: Net, n_classes: int = 2) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.head = nn.Linear(sum(tower.width for tower in towers), n_classes)

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """Classify."""
        out: torch.Tensor = self.head(torch.cat([t(x) for t, x in zip(self.towers, views, strict=True)], 1))
        return out


class Momentum(nn.Module):
    """The second encoder is no part of the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_q, self.encoder_k = Net(n_classes=16), Net(n_classes=16)
        self.register_buffer("queue", torch.randn(16, 32))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode."""
        out: torch.Tensor = self.encoder_q(x)
        return out


def image(n_in: int = 3) -> torch.Tensor:
    return torch.randn(2, n_in, 16, 16, generator=torch.Generator().manual_seed(3))


def trained(net: nn.Module) -> nn.Module:
    """Give a network statistics and weights of its own, small enough to stay finite."""
    nets.randomise(net, 0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.sub_(0.5).mul_(0.3)
    return net.eval()


@torch.no_grad()
def assert_equal(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def fresh(report: transfer.TransferReport) -> list[str]:
    return [row.name for row in report.tensors if row.status == "fresh"]


def test_each_of_two_towers_becomes_the_source() -> None:
    source, target = trained(Net()), Views(Net(), Net()).eval()
    report = transfer.transfer(source, target)
    for tower in target.towers:
        assert_equal(tower(image()), source(image()))
    assert fresh(report) == ["head.weight", "head.bias"]
    assert report.similarity == transfer.similarity(source, target) > 0.9
    a, b = transfer.standardize(source), transfer.standardize(target)
    assert scaled_similarity(a, b, plain_similarity(a, b)) < 0.85  # as one network


def test_a_momentum_encoder_is_filled_too() -> None:
    source, target = trained(Net(n_classes=16)), Momentum().eval()
    report = transfer.transfer(source, target)
    for encoder in (target.encoder_q, target.encoder_k):
        assert_equal(encoder(image()), source(image()))
    assert fresh(report) == ["queue", "queue_ptr"]


def test_towers_without_the_classifier_leave_theirs_fresh() -> None:
    source, target = trained(Net(n_classes=7)), Momentum()
    named = {row.name: row for row in transfer.transfer(source, target).tensors}
    for encoder in ("encoder_q", "encoder_k"):
        assert "7 classes" in named[f"{encoder}.fc.weight"].reason
        assert named[f"{encoder}.fc.weight"].no_larger_than == "fc.weight"
    options = transfer.Options(head=False)
    plan = transfer.plan(Net(n_classes=16), Momentum(), options=options)
    assert [row.name for row in plan.tensors if "left out" in row.reason] == [
        "encoder_q.fc.weight",
        "encoder_q.fc.bias",
        "encoder_k.fc.weight",
        "encoder_k.fc.bias",
    ]


def test_views_of_other_channels_and_depth() -> None:
    source = trained(Net())
    target = Views(Net(), Net(n_in=1), Net(depths=(3, 4))).eval()
    report = transfer.transfer(source, target)
    grey = image(1)
    assert_equal(target.towers[0](image()), source(image()))
    assert_equal(target.towers[1](grey), source(grey.expand(-1, 3, -1, -1)))
    assert_equal(target.towers[2](image()), source(image()))
    assert fresh(report) == ["head.weight", "head.bias"]


def test_a_wider_tower_contains_the_source_beside_an_equal_one() -> None:
    source, target = trained(Net()), Views(Net(), Net(width=12)).eval()
    transfer.transfer(source, target)
    with torch.no_grad():
        wide = target.towers[1](image())
    assert_equal(wide[:, :32], source(image()))


def test_a_narrower_tower_is_cropped_as_it_would_be_alone() -> None:
    source, target, alone = trained(Net()), Views(Net(), Net(width=4)).eval(), Net(width=4).eval()
    plan, own = transfer.plan(source, target), transfer.plan(source, alone)
    rows = {row.name.removeprefix("towers.1."): row for row in plan.tensors if row.name.startswith("towers.1.")}
    assert {name: row.regions for name, row in rows.items()} == {row.name: row.regions for row in own.tensors}
    transfer.transfer(source, target)
    assert_equal(target.towers[0](image()), source(image()))


def test_a_classifier_on_both_is_the_source_s_on_the_first() -> None:
    source, target = trained(Net(n_classes=5)), Views(Net(), Net(), n_classes=5).eval()
    report = transfer.transfer(source, target)
    assert not fresh(report)
    assert_equal(target(image(), image() + 1), source(image()))


def test_what_is_tied_is_written_once() -> None:
    source, tower = trained(Net()), Net()
    target = Views(tower, tower).eval()
    report = transfer.transfer(source, target)
    assert_equal(target.towers[1](image()), source(image()))
    named = {row.name: row for row in report.tensors}
    assert named["towers.1.stem.weight"].tied_to == "towers.0.stem.weight"
    assert named["towers.1.stem.weight"].status == "copied"


def test_networks_of_transformers_are_towers_though_their_blocks_are_alike() -> None:
    source = timm.create_model("test_vit", num_classes=0).eval()
    target = nn.ModuleDict({name: timm.create_model("test_vit", num_classes=0) for name in ("student", "teacher")})
    transfer.transfer(source, target)
    x = torch.randn(1, 3, 160, 160)
    for tower in target.eval().values():
        assert_equal(tower(x), source(x))


def test_an_alignment_of_towers_tells_places_in_the_whole_networks() -> None:
    plan = transfer.plan(Net(), Views(Net(), Net(depths=(3, 2))))
    alignment = plan.alignment
    assert len({pair.target.path for pair in alignment.pairs}) == len(alignment.pairs)
    for pair in alignment.pairs:
        assert any(pair.target is layer for layer in alignment.target.items[pair.target_item].layers)
        paths = [layer.path for layer in alignment.source.items[pair.source_item].layers]
        assert pair.source.path in paths


def test_a_part_is_standardized_as_it_would_be_alone() -> None:
    whole = transfer.standardize(Views(Net(), Net(depths=(1, 3), n_classes=4)))
    alone = transfer.standardize(Net(depths=(1, 3), n_classes=4))
    assert part_of(whole, "towers.1") == alone
    assert list(part_of(whole, "towers.1").layers()) == list(alone.layers())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("test_resnet", "resnet18"),
        ("resnet18", "resnet50"),
        ("resnet10t", "hrnet_w18_small"),
        ("test_vit", "crossvit_tiny_240"),
        ("test_vit", "vit_tiny_patch16_224"),
        ("mixer_s32_224", "coat_lite_tiny"),
        ("test_resnet", "inception_v3"),
    ],
)
def test_other_networks_have_no_towers(source: str, target: str) -> None:
    a, b = (transfer.standardize(build(name)) for name in (source, target))
    assert find_towers(a, b, scaled_similarity(a, b, plain_similarity(a, b))) is None


def test_stages_that_could_follow_each_other_are_no_towers() -> None:
    stack = nn.Sequential(*(Residual(8) for _ in range(3)))
    target = nn.Sequential(*(nn.Sequential(*(Residual(8) for _ in range(3))) for _ in range(2)))
    a, b = transfer.standardize(stack), transfer.standardize(target)
    assert subtrees(b)
    assert find_towers(a, b, plain_similarity(a, b)) is None


def test_blocks_are_no_towers_of_a_network_of_two_blocks() -> None:
    source, target = (
        nn.Sequential(nn.Conv2d(3, 12, 3), *(nn.Sequential(*block()) for _ in range(2)), nn.Conv2d(12, 5, 1))
        for block in (
            lambda: [nn.Conv2d(12, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 12, 1)],
            lambda: [nn.Conv2d(12, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 1)],
        )
    )
    a, b = transfer.standardize(source), transfer.standardize(target)
    assert {tree.path for tree in subtrees(b)} == {"1", "2"}
    assert find_towers(a, b, 0.0) is None


def test_without_names_there_are_none() -> None:
    def nameless(layer: Layer) -> Layer:
        return replace(layer, path="", tensors=tuple(replace(tensor, name="") for tensor in layer.tensors))

    target = transfer.standardize(Views(Net(), Net()))
    bare = [
        Block(tuple(map(nameless, item.layers))) if isinstance(item, Block) else nameless(item)
        for item in target.items
    ]
    assert not subtrees(Architecture("dpiat", tuple(bare)))
    assert {"towers", "towers.0", "towers.1", "towers.1.stages"} <= {tree.path for tree in subtrees(target)}


def test_recommended_is_what_the_towers_are(zoo: Zoo) -> None:
    target = nn.ModuleDict({name: timm.create_model("test_resnet", num_classes=0) for name in ("a", "b")})
    target["fc"] = nn.Linear(128, 2)
    best = zoo.recommend(target, k=3).results[0]
    assert best.architecture == "test_resnet"
    assert best.similarity > 0.95
    assert best.coverage > 0.99


class Coder(nn.Module):
    """An encoder per modality, and a decoder that all of them share."""

    def __init__(self, n: int, width: int = 8) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Net(width) for _ in range(n))
        self.mix = nn.Conv2d(4 * width * n, 4 * width, 3, padding=1)
        self.decoder = nn.Sequential(Residual(4 * width), Residual(4 * width), Residual(4 * width))
        self.out = nn.Conv2d(4 * width, 3, 3, padding=1)

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """Encode each view, decode all."""
        given = []
        for net, x in zip(self.encoders, views, strict=True):
            given.append(net.stages(functional.relu(net.norm(net.stem(x)))))
        out: torch.Tensor = self.out(self.decoder(self.mix(torch.cat(given, 1))))
        return out


def test_a_decoder_that_two_encoders_share_gets_the_source_s() -> None:
    source, target = trained(Coder(1)), Coder(2).eval()
    report = transfer.transfer(source, target)
    assert not fresh(report)
    for row in report.tensors:
        assert row.source == row.name.replace("encoders.1", "encoders.0")
    assert_equal(target(image(), image() + 1), source(image()))


class Text(nn.Module):
    """Reads words, and gives as many channels as they are embedded in."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(3))
        self.pool = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a text."""
        x = self.words(x)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.pool(x[:, 0])
        return out


def test_encoders_of_text_are_towers() -> None:
    torch.manual_seed(0)
    source, target = Text().eval(), nn.ModuleDict({"question": Text(), "answer": Text()}).eval()
    assert transfer.transfer(source, target).coverage == 1
    words = torch.arange(14).view(2, 7)
    for tower in target.values():
        assert_equal(tower(words), source(words))
