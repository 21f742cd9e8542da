"""A configuration beside the weights tells the order of a sorted file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from transfer.weights.checkpoint import open_checkpoint
from zoo_index.catalogues.transformers_structure import structure_beside

transformers = pytest.importorskip("transformers")
CONFIG = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
CONFIG |= {"image_size": 32, "patch_size": 8}


def saved(folder: Path, **changes: Any) -> nn.Module:
    network: nn.Module = transformers.ViTForImageClassification(transformers.ViTConfig(**CONFIG))
    nets.randomise(network, 1)
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {**CONFIG, "model_type": "vit", "architectures": ["ViTForImageClassification"], **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return network


def test_the_network_of_the_configuration_is_the_structure(tmp_path: Path) -> None:
    network = saved(tmp_path)
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert list(checkpoint.header) != list(network.state_dict())
    structure, note = structure_beside(checkpoint)
    assert isinstance(structure, nn.Module)
    assert list(structure.state_dict()) == list(network.state_dict())
    assert all(tensor.is_meta for tensor in structure.state_dict().values())
    assert note == ""


def test_a_file_of_an_older_release_is_read_in_the_order_of_the_network(tmp_path: Path) -> None:
    network = saved(tmp_path)
    state = {name.replace("vit.layers", "vit.encoder.layer"): t for name, t in network.state_dict().items()}
    state = {name.replace("attention.q_proj", "attention.attention.query"): t for name, t in state.items()}
    save_file(state, tmp_path / "model.safetensors")
    structure, note = structure_beside(open_checkpoint(tmp_path / "model.safetensors"))
    assert structure is not None
    assert {t.name for t in structure.tensors()} == state.keys()  # type: ignore[union-attr]
    assert note == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "nothing"}, "transformers has no"),
        ({"architectures": ["os"]}, "transformers has no"),
        ({"architectures": ["ViTConfig"]}, "is no network"),
        ({"hidden_size": 48, "intermediate_size": 96}, "other tensors"),
        ({"num_hidden_layers": 10**9}, "does not suit"),
        ({"hidden_size": "wide"}, "raised"),
        ({"use_pretrained_backbone": True}, "does not suit"),
    ],
)
def test_a_configuration_of_no_use_is_named(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    saved(tmp_path, **changes)
    structure, note = structure_beside(open_checkpoint(tmp_path / "model.safetensors"))
    assert structure is None
    assert reason in note


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    saved(tmp_path, model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert structure_beside(open_checkpoint(tmp_path / "model.safetensors"))[0] is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_type": 3}'])
def test_other_configurations_are_left_alone(tmp_path: Path, text: str) -> None:
    save_file({"a.weight": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    structure, note = structure_beside(open_checkpoint(tmp_path / "model.safetensors"))
    assert structure is None
    assert "describes no network" in note
