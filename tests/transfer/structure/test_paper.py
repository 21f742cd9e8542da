"""The published method, held against values of the authors' own implementation (tests/assets/README.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nets
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

import transfer
from transfer.errors import InputError, MethodError
from transfer.structure.records import PLACEHOLDER, Architecture, Block
from zoo_index.catalogues.timm_catalogue import build

ASSETS = Path(__file__).parents[2] / "assets"
SIMILARITIES = json.loads((ASSETS / "paper_similarity.json").read_text())["similarities"]
MATCHES = json.loads((ASSETS / "paper_matches.json").read_text())["matches"]


@cache
def standardized(name: str) -> Architecture:
    return transfer.standardize(build(name), method="paper")


def pair_id(case: dict[str, str]) -> str:
    return f"{case['source']}-{case['target']}"


def test_the_oracle_is_complete() -> None:
    assert len(SIMILARITIES) == 45
    assert len(MATCHES) == 8


@pytest.mark.parametrize("case", SIMILARITIES, ids=pair_id)
def test_similarity_equals_the_authors(case: dict[str, object]) -> None:
    source, target = standardized(str(case["source"])), standardized(str(case["target"]))
    alignment = transfer.match(source, target, method="paper")
    assert alignment.value == pytest.approx(case["score"], abs=1e-9)
    assert alignment.similarity == pytest.approx(case["similarity"], abs=1e-9)
    assert target.n_scoring == case["target_self_score"]
    assert transfer.similarity(source, target, measure="paper") == alignment.similarity


@pytest.mark.parametrize("case", MATCHES, ids=pair_id)
def test_pairs_equal_the_authors_in_order(case: dict[str, object]) -> None:
    alignment = transfer.match(standardized(str(case["source"])), standardized(str(case["target"])), method="paper")
    assert [[pair.source.path, pair.target.path] for pair in alignment.pairs] == case["pairs"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", ["Conv2d", "BatchNorm2d", 0, 0, 8, 8, 10, 8, 10, 8, 10, 8, 0, 0, "Linear"]),
        ("vgg11", [21, 5, 0, 0, 0, "Linear", 0]),
        ("test_vit", ["Conv2d", 0, 0, 0, 0, 19, 19, 19, 19, 19, 19, 0, 0, 0, "Linear"]),
        ("efficientnet_b0", ["Conv2d", "BatchNorm2d", 10, *[12] * 15, "Conv2d", "BatchNorm2d", 0, 0, "Linear"]),
    ],
)
def test_standardized_shapes(name: str, shape: list[object]) -> None:
    found = [
        len(item.layers) if isinstance(item, Block) else (0 if item.kind == PLACEHOLDER else item.kind)
        for item in standardized(name).items
    ]
    assert found == shape


def reference_clip(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Centre crop and centred paste, dimension by dimension, one element at a time."""
    result = target.clone()
    for index in torch.cartesian_prod(*[torch.arange(n) for n in target.shape]).reshape(-1, target.dim()).tolist():
        place = []
        for i, a, b in zip(index, source.shape, target.shape, strict=True):
            place.append(i + (a - b) // 2 if a >= b else i - (b - a) // 2)
        if all(0 <= i < a for i, a in zip(place, source.shape, strict=True)):
            result[tuple(index)] = source[tuple(place)]
    return result


@pytest.mark.parametrize(("a", "b"), [((6, 2), (9, 3)), ((9, 3), (6, 2)), ((5, 2), (8, 2)), ((7, 1), (4, 3))])
def test_transfer_is_clip_of_weight_and_bias(a: tuple[int, int], b: tuple[int, int]) -> None:
    source = nets.randomise(nets.conv_net(*a), 1)
    target = nets.randomise(nets.conv_net(*b), 2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    alignment = transfer.match(source, target, method="paper")
    report = transfer.transfer(source, target, method="paper")
    expected = dict(before)
    given = source.state_dict()
    for pair in alignment.pairs:
        for role in ("weight", "bias"):
            name = f"{pair.target.path}.{role}"
            expected[name] = reference_clip(given[f"{pair.source.path}.{role}"], before[name])
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    untouched = [row for row in report.tensors if "running" in row.name]
    assert untouched
    assert all(row.status == "fresh" and "published method" in row.reason for row in untouched)


def test_paper_needs_a_module() -> None:
    state = nets.mlp(3, 4, 5).state_dict()
    with pytest.raises(MethodError, match="expected a network module"):
        transfer.standardize(state, method="paper")


def test_batch_norm_without_weight_scores_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 4, 3))
    assert [layer.kind for layer in transfer.standardize(model, method="paper").layers()] == [
        "Conv2d",
        PLACEHOLDER,
        "Conv2d",
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old weight norm still is in use
@pytest.mark.parametrize("wrap", [weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize("method", ["paper", "dpiat"])
def test_computed_weights_are_neither_asked_for_nor_written(wrap: Callable[..., nn.Module], method: str) -> None:
    def network(width: int) -> nn.Module:
        return nn.Sequential(wrap(nn.Conv2d(3, width, 3)), nn.BatchNorm2d(width), nn.Conv2d(width, width, 3))

    plain = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3))
    for source, target in ((network(4), network(6)), (plain, network(4)), (network(4), plain)):
        before = [{k: v.clone() for k, v in net.state_dict().items()} for net in (source, target)]
        transfer.plan(source, target, method=method)
        assert all(torch.equal(v, before[1][k]) for k, v in target.state_dict().items())
        report = transfer.transfer(source, target, method=method)
        assert all(torch.equal(v, before[0][k]) for k, v in source.state_dict().items())
        assert {row.name: row.status for row in report.tensors}["2.weight"] != "fresh"


def test_lazy_networks_are_refused_by_name() -> None:
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyLinear(3))
    for method in ("paper", "dpiat"):
        with pytest.raises(InputError, match=r"'0\.weight' is lazy; run it once"):
            transfer.standardize(lazy, method=method)
