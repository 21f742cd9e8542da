"""Classifiers that stay fresh are as loud as the source's at most."""

from pathlib import Path

import nets
import pytest
import torch
from torch import nn

import transfer
from transfer.options import Options
from transfer.planning.planned import PlannedTensor
from zoo_index.catalogues.timm_catalogue import build


def network(width: int, n_classes: int, spread: float = 1.0) -> nn.Sequential:
    made = nets.randomise(nets.mlp(4, width, n_classes), n_classes)
    made[2].weight.data.normal_(std=spread)
    return made


def row_of(report: transfer.TransferReport, name: str = "2.weight") -> PlannedTensor:
    return next(row for row in report.tensors if row.name == name)


def size(layer: nn.Module) -> float:
    """Spread of the outputs for independent inputs of spread 1."""
    return float(layer.weight.detach().square().sum(1).mean().sqrt())


def test_a_classifier_of_other_classes_stays_random_and_becomes_as_small_as_the_sources() -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5)
    before, bias = target[2].weight.clone(), target[2].bias.clone()
    row = row_of(transfer.transfer(source, target))
    assert row.status == "fresh"
    assert row.reason.startswith("the source tells 10 classes apart, the target 3; times 0.")
    factors = target[2].weight / before
    torch.testing.assert_close(factors, factors.mean().expand_as(factors))
    assert size(target[2]) == pytest.approx(size(source[2]))
    assert torch.equal(target[2].bias, bias)


def test_outputs_count_not_weights_where_the_number_of_features_differs() -> None:
    source, target = network(32, 10, 0.1), network(8, 3, 0.5)
    transfer.transfer(source, target)
    assert size(target[2]) == pytest.approx(size(source[2]))


def test_a_smaller_classifier_is_left_alone() -> None:
    source, target = network(6, 10, 0.5), network(6, 3, 0.1)
    before = target[2].weight.clone()
    row = row_of(transfer.transfer(source, target))
    assert torch.equal(target[2].weight, before)
    assert row.reason == "the source tells 10 classes apart, the target 3"


def test_a_classifier_that_was_to_be_left_out_is_left_alone() -> None:
    for n_classes in (3, 10):
        source, target = network(6, n_classes, 0.1), network(6, 3, 0.5)
        before = target[2].weight.clone()
        transfer.transfer(source, target, options=Options(head=False))
        assert torch.equal(target[2].weight, before)


def test_weights_without_a_classifier_say_nothing() -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5)
    before = target[2].weight.clone()
    weights = {name: value for name, value in source.state_dict().items() if not name.startswith("2.")}
    report = transfer.transfer(weights, target, source_structure=source)
    assert report.coverage > 0.5
    assert torch.equal(target[2].weight, before)


def test_what_ends_a_network_without_classifier_is_no_classifier() -> None:
    name = "mobilenetv3_small_050"
    source, target = build(name, num_classes=0), build(name, num_classes=10)
    rows = {row.name: row for row in transfer.plan(source, target).tensors}
    assert rows["conv_head.weight"].status == "copied"
    assert rows["classifier.weight"].no_larger_than == ""


def test_a_classifier_that_lies_in_an_embedding_does_not_shrink_it() -> None:
    def language(n_words: int) -> nn.Sequential:
        made = nn.Sequential(nn.Embedding(n_words, 6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, n_words - 2))
        made[3].weight = nn.Parameter(made[0].weight.data[: n_words - 2])
        return made

    source, target = language(10), language(7)
    source[0].weight.data.mul_(0.01)
    transfer.transfer(source, target)
    assert torch.equal(target[0].weight, source[0].weight[:7])


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_classifier_without_a_size_is_left_alone(value: float) -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5)
    target[2].weight.data[0, 0] = value
    before = target[2].weight.clone()
    transfer.transfer(source, target)
    torch.testing.assert_close(target[2].weight, before, rtol=0, atol=0, equal_nan=True)


def test_it_can_be_left_out_and_the_published_method_does_not_know_it() -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5)
    before = target[2].weight.clone()
    transfer.transfer(source, target, options=Options(quiet_head=False))
    assert torch.equal(target[2].weight, before)
    assert row_of(transfer.transfer(source, target, method="paper")).no_larger_than == ""


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_a_source_classifier_without_a_size_says_nothing(value: float) -> None:
    source, target = network(6, 10), network(6, 3)
    source[2].weight.data.fill_(value)
    before = target[2].weight.clone()
    transfer.transfer(source, target)
    assert torch.equal(target[2].weight, before)


def test_a_classifier_that_is_tied_to_an_embedding_is_not_shrunk() -> None:
    def language(n_words: int) -> nn.Sequential:
        made = nn.Sequential(nn.Embedding(n_words, 6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, n_words))
        made[3].weight = made[0].weight
        return made

    source, target = language(10), language(7)
    source[0].weight.data.mul_(0.01)
    transfer.transfer(source, target)
    assert torch.equal(target[0].weight, source[0].weight[:7])


def test_it_works_from_files_and_in_half_precision(tmp_path: Path) -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5).half()
    torch.save(source.state_dict(), tmp_path / "source.pt")
    report = transfer.transfer(tmp_path / "source.pt", target)
    assert size(target[2].float()) == pytest.approx(size(source[2]), rel=1e-2)
    assert row_of(report).to_json()["no_larger_than"] == "2.weight"


def test_types_that_do_not_multiply_are_shrunk_too() -> None:
    source, target = network(6, 10, 0.1), network(6, 3, 0.5)
    target[2].weight.data = target[2].weight.data.to(torch.float8_e4m3fn)
    transfer.transfer(source, target)
    assert size(target[2].float()) == pytest.approx(size(source[2]), rel=0.1)
