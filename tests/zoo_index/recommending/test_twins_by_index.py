"""Weights files of one library meet modules of another: the twin is recommended first, its transfer is equal.

Each network is saved as a hub keeps it: safetensors, sorted by name, with its library's names. Only the headers are
indexed. What is asked for is the same network in another library's code.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from twins import PAIRS, changed, output, with_one_epsilon

from zoo_index.engines import open_engine
from zoo_index.recommending.answers import Filters
from zoo_index.zoo.zoo import Zoo

Maker = Callable[[], nn.Module]

LIBRARIES = {
    **{f"{name}-other": (source, target, size) for name, (source, target, size) in PAIRS.items()},
    **{
        f"{name}-timm": (target, source, size)
        for name, (source, target, size) in PAIRS.items()
        if name in ("resnet50", "convnext", "mobilenetv3", "densenet", "mnasnet", "hf-vit")
    },
}
"""Thirty networks: ten of torchvision, fourteen of transformers, six of timm; each with its twin."""

ALIKE = ({"resnet50", "hf-resnet"}, {"convnext", "hf-convnext"}, {"regnet", "hf-regnet"})
"""Names of one and the same network."""

FEW = ("mnasnet-other", "mnasnet-timm", "hf-dinov2-other", "hf-beit-other", "hf-convnextv2-other")
"""Asked for in every run, the others in the sweep."""


@pytest.fixture(scope="module", params=[FEW, pytest.param(tuple(LIBRARIES), marks=pytest.mark.slow)])
def indexed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_index: Any
) -> Iterator[tuple[Zoo, tuple[str, ...]]]:
    folder = tmp_path_factory.mktemp("twins")
    shutil.copy(small_index, folder / "zoo.db")
    (folder / "files").mkdir()
    for name in request.param:
        torch.manual_seed(0)
        network = changed(LIBRARIES[name][0]())
        state = {key: tensor.clone().contiguous() for key, tensor in network.state_dict().items()}
        save_file(dict(sorted(state.items())), folder / "files" / f"{name}.safetensors")
    zoo = Zoo(folder / "zoo.db")
    report = zoo.add_folder(folder / "files", "twins", engine=open_engine("inline"))
    assert sorted(report.new) == sorted(f"twins/{name}" for name in request.param)
    yield zoo, request.param
    zoo.store.close()
    shutil.rmtree(folder / "files")


@pytest.mark.timeout(3600)
def test_twins_are_first_and_equal(indexed: tuple[Zoo, tuple[str, ...]]) -> None:
    zoo, names = indexed
    equal, first = [], []
    for name in names:
        make_source, make_target, size = LIBRARIES[name]
        torch.manual_seed(0)
        source = with_one_epsilon(changed(make_source()))
        torch.manual_seed(1)
        target = with_one_epsilon(make_target())
        found = zoo.recommend(target, k=3, filters=Filters(catalogue="folder")).results
        twins = {f"twins/{other}" for other in names if _is_twin(other, name)}
        if found[0].name in twins:
            first.append(name)
        zoo.transfer(target, f"twins/{name}", verify=False)
        x = torch.randn(2, *size)
        with torch.no_grad():
            wanted, got = output(source, x), output(target, x)
        is_equal = wanted.shape == got.shape and (wanted - got).abs().max() <= 1e-3 * wanted.abs().max()
        if is_equal:
            equal.append(name)
    print(f"first: {len(first)}, equal: {len(equal)} of {len(names)}")
    assert first == list(names), sorted({*names} - {*first})
    assert len(equal) >= len(names) * 26 // 30, sorted({*names} - {*equal})


def _is_twin(other: str, name: str) -> bool:
    """Whether two files are of one network, whatever their libraries."""
    one, two = other.rpartition("-")[0], name.rpartition("-")[0]
    return one == two or any({one, two} <= group for group in ALIKE)
