"""Where what a layer gives goes to: seen in a run, carried in the record, kept in the index."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from transfer.channels.concatenation import concatenating_items
from transfer.channels.gates import gates_of
from transfer.structure.meaning import residual_exits
from transfer.structure.records import Architecture, Block
from transfer.structure.standardization import standardize
from transfer.wiring import Wiring
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.catalogues.wiring_text import read_wiring, wiring_texts

AFFINE = ("weight", "bias")


def wiring(architecture: Architecture) -> dict[str, Wiring]:
    return {layer.path: layer.wiring for layer in architecture.layers() if layer.wiring is not None}


def exits(architecture: Architecture, path: str) -> set[str]:
    blocks = (item for item in architecture.items if isinstance(item, Block))
    return {
        tensor.name
        for block in blocks
        if any(layer.path.startswith(path) for layer in block.layers)
        for tensor in residual_exits(block)
    }


class Plain(nn.Module):
    """Residual, dense and gated blocks as users write them: functions, and parameters without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.residual = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)])
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.dense = nn.ModuleList([nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.squeeze, self.excite = nn.Conv2d(12, 3, 1), nn.Conv2d(3, 12, 1)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = x
        for layer in self.residual:
            y = layer(y)
        x = x + y.relu() * self.scale
        y = x
        for layer in self.dense:
            y = layer(y).relu()
        x = self.norm(torch.cat([x, y], 1))
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = x * gate
        result: torch.Tensor = self.head(x.relu().mean((2, 3)))
        return result


def test_branches_are_seen_in_anybodys_code() -> None:
    found = wiring(standardize(Plain()))
    residual = found["residual.0"].inside
    assert len(residual) == 1
    assert (residual[0].n_layers, residual[0].is_appended) == (4, False)
    assert found["residual.1"].inside == found["residual.2"].inside == found["scale"].inside == residual
    assert [path for path, around in found.items() if residual[0] in around.ends] == ["scale"]
    dense = found["dense.1"].ends
    assert [(branch.n_layers, branch.is_appended) for branch in dense] == [(2, True)]
    assert found["stem"].inside == found["norm"].inside == found["head"].inside == ()


def test_what_alone_reads_a_layer_is_seen() -> None:
    found = wiring(standardize(Plain()))
    assert (found["residual.0"].feeds, found["residual.1"].feeds) == ("residual.1", "residual.2")
    assert found["residual.2"].feeds == ""  # activated
    assert found["stem"].feeds == ""  # the branch and the addition read it


def test_who_can_make_up_for_a_gate_is_seen() -> None:
    found = wiring(standardize(Plain()))
    assert found["excite"].beside == "norm"  # what reads the product is an activation
    network = standardize(build("efficientnet_b0"))
    gates = list(gates_of(network))
    assert [gate.side.path for gate in gates if gate.side] == [g.reader.path for g in gates if g.reader]
    assert len(gates) == 16


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        (
            "seresnet18",
            "layer1.1",
            {"layer1.1.bn2.weight", "layer1.1.bn2.bias"},
        ),  # the gate need not be closed, too
        ("resnet18", "layer2.0", set()),  # its shortcut is a convolution
        ("mobilenetv2_100", "blocks.1.0", set()),  # nothing is added
        ("convnext_atto", "stages.0.blocks.1", {"stages.0.blocks.1.gamma"}),
        (
            "vit_relpos_small_patch16_rpn_224",
            "blocks.0",
            {f"blocks.0.norm{i}.{r}" for i in "12" for r in ("weight", "bias")},
        ),
    ],
)
def test_what_ends_a_residual_block(name: str, path: str, expected: set[str]) -> None:
    assert exits(standardize(build(name)), f"{path}.") == expected


def test_a_transformer_of_torch_ends_its_branches_with_its_projections() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    found = wiring(standardize(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))
    assert [path for path, around in found.items() if around.ends] == [
        f"layers.{i}.{path}" for i in range(2) for path in ("self_attn.out_proj", "linear2")
    ]


def test_dense_blocks_append() -> None:
    network = standardize(build("densenet121"))
    appending = [network.items[i].layers[0].path for i in sorted(concatenating_items(network))]
    assert len(appending) == 6 + 12 + 24 + 16
    assert all("denselayer" in path for path in appending)
    assert concatenating_items(standardize(build("resnet50"))) == set()


@pytest.mark.parametrize("name", ["seresnet18", "densenet121", "test_vit", "convnext_atto"])
def test_wiring_is_written_and_read(name: str) -> None:
    network = standardize(build(name))
    texts = wiring_texts(network)
    paths = [layer.path for layer in network.layers()]
    found = read_wiring(texts, paths)
    assert len(texts) == len(paths)
    numbers: dict[int, int] = {}
    for layer, read in zip(network.layers(), found, strict=True):
        assert layer.wiring is not None
        assert (read.feeds, read.beside) == (layer.wiring.feeds, layer.wiring.beside)
        for kind in ("inside", "ends"):
            for own, other in zip(getattr(layer.wiring, kind), getattr(read, kind), strict=True):
                assert own[1:] == other[1:]
                assert numbers.setdefault(own.number, other.number) == other.number
    assert len(set(numbers.values())) == len(numbers)


def test_a_header_knows_no_wiring() -> None:
    network = standardize(build("resnet18").state_dict())
    assert wiring(network) == {}
    assert wiring_texts(network) == ()
