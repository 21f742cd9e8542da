"""Files that do not tell the order of their tensors."""

from __future__ import annotations

import random
from pathlib import Path

import nets
import pytest
import torch
from safetensors.torch import save_file

import transfer
from transfer.structure.order import ordered_like
from transfer.structure.records import Signature
from zoo_index.catalogues.timm_catalogue import build


@pytest.mark.parametrize("name", ["resnet50", "convnext_atto", "densenet121", "test_vit"])
def test_a_sorted_file_feeds_an_equal_network_bit_for_bit(name: str, tmp_path: Path) -> None:
    source, target = nets.randomise(build(name, device="cpu"), 1), nets.randomise(build(name, device="cpu"), 2)
    save_file(source.state_dict(), tmp_path / "sorted.safetensors")
    assert not transfer.open_checkpoint(tmp_path / "sorted.safetensors").is_ordered
    report = transfer.transfer(tmp_path / "sorted.safetensors", target)
    assert report.counts()["copied"] == len(report.tensors)
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_a_sorted_file_feeds_a_deeper_network_as_the_module_does(tmp_path: Path) -> None:
    source = build("resnet50", device="cpu")
    save_file(source.state_dict(), tmp_path / "sorted.safetensors")
    target = build("resnet101")
    assert transfer.plan(tmp_path / "sorted.safetensors", target).tensors == transfer.plan(source, target).tensors


def test_what_the_other_network_lacks_follows_its_siblings() -> None:
    like = ["stem.w", "b.0.conv.w", "b.0.bn.w", "b.1.conv.w", "b.1.bn.w", "head.w"]
    names = [
        "b.0.bn.w",
        "b.0.conv.w",
        "b.2.bn.w",
        "b.2.conv.w",
        "b.10.bn.w",
        "b.10.conv.w",
        "head.w",
        "x.w",
        "stem.w",
    ]
    found = ordered_like(dict.fromkeys(names, Signature((1,))), dict.fromkeys(like, Signature((1,))))
    assert list(found) == [
        "stem.w",
        "b.0.conv.w",
        "b.0.bn.w",
        "b.2.conv.w",
        "b.2.bn.w",
        "b.10.conv.w",
        "b.10.bn.w",
        "head.w",
        "x.w",
    ]


def test_any_order_of_the_same_names_gives_the_order_of_the_other() -> None:
    header = {name: Signature(tuple(t.shape)) for name, t in build("regnety_002").state_dict().items()}
    names = list(header)
    random.Random(0).shuffle(names)
    assert list(ordered_like({name: header[name] for name in names}, header)) == list(header)


def test_a_sorted_file_with_other_names_is_called_a_guess(tmp_path: Path) -> None:
    state = {f"net.{key}x": tensor for key, tensor in build("test_vit", device="cpu").state_dict().items()}
    save_file(state, tmp_path / "other.safetensors")
    plan = transfer.plan(tmp_path / "other.safetensors", build("test_vit"))
    assert "the order of its layers is a guess" in plan.note
    assert plan.to_json()["note"] == plan.note
    assert transfer.plan(state, build("test_vit")).note == ""
