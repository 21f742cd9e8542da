"""Checkpoints of training scripts: which of the state dicts in them is meant, and never an optimizer's."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import torch
from torch import nn
from weights_files import Configuration, State, assert_same, held

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.holdings import inspect


class AttributeDict(dict[str, Any]):
    """As Lightning's, which is a dict of its own."""


@pytest.fixture(scope="module")
def optimizer(module: nn.Module) -> dict[str, Any]:
    made = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3, 8, 8)).sum().backward()
    made.step()
    return made.state_dict()


def timm_training(module: nn.Module, optimizer: Any) -> Any:
    return {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": module.state_dict(),
        "optimizer": optimizer,
        "version": 2,
        "args": argparse.Namespace(lr=0.1, opt="adamw", mean=(0.1, 0.2)),
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(71.5),
    }


def lightning(module: nn.Module, optimizer: Any) -> Any:
    return {
        "epoch": 1,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": module.state_dict(),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": torch.tensor(1.0)}},
        "optimizer_states": [optimizer],
        "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(configuration=Configuration(), path=Path("x")),
    }


def mmengine(module: nn.Module, optimizer: Any) -> Any:
    return {
        "meta": {"epoch": np.int64(3), "seed": np.float32(3)},
        "state_dict": module.state_dict(),
        "message_hub": {"log_scalars": [np.float64(1)]},
        "optimizer": optimizer,
    }


def resemblyzer(module: nn.Module, optimizer: Any) -> Any:
    return {"step": 3, "model_state": module.state_dict(), "optimizer_state": optimizer}


def of_its_own(module: nn.Module, optimizer: Any) -> Any:
    return {"run": {"weights of the best epoch": module.state_dict()}, "opt": [optimizer], "rng": torch.rand(5)}


def a_pair(module: nn.Module, optimizer: Any) -> Any:
    return module.state_dict(), {"epoch": 3}, Configuration()


SCRIPTS = {
    "timm": (timm_training, "state_dict"),
    "lightning": (lightning, "state_dict"),
    "mmengine": (mmengine, "state_dict"),
    "resemblyzer": (resemblyzer, "model_state"),
    "own": (of_its_own, "run.weights of the best epoch"),
    "pair": (a_pair, "0"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(("make", "key"), SCRIPTS.values(), ids=SCRIPTS)
def test_training_checkpoints(
    tmp_path: Path, module: nn.Module, optimizer: Any, make: Callable[..., Any], key: str, legacy: bool
) -> None:
    torch.save(make(module, optimizer), tmp_path / "w.ckpt", _use_new_zipfile_serialization=not legacy)
    assert_same(held(tmp_path / "w.ckpt"), module.state_dict())
    assert (
        f"takes {key!r} of the file, {len(module.state_dict())} tensors"
        in open_checkpoint(tmp_path / "w.ckpt").note
    )
    assert_same(held(tmp_path / "w.ckpt", state=key), module.state_dict())


def test_one_of_several_is_taken_by_name(tmp_path: Path, module: nn.Module) -> None:
    other = nets.randomise(nets.conv_net(4, 2), 4).state_dict()
    torch.save(
        {"student": module.state_dict(), "teacher": other, "head": {"w.b": torch.rand(3)}}, tmp_path / "w.pth"
    )
    assert_same(held(tmp_path / "w.pth"), module.state_dict())
    assert_same(held(tmp_path / "w.pth", state="teacher"), dict(other))
    assert open_checkpoint(tmp_path / "w.pth").note.endswith("it also holds 'teacher', 'head'")
    with pytest.raises(
        CheckpointError, match=r"a state dict 'tutor' in .*, found 'student', 'teacher', 'head'; see: zoo"
    ):
        open_checkpoint(tmp_path / "w.pth", state="tutor")


def moments(names: Iterable[str], *averages: str) -> dict[str, State]:
    """Averages of an optimizer, larger than the network that they are beside."""
    return {average: {name: torch.rand(200, 200) for name in names} for average in averages}


def per_tensor(names: Iterable[str]) -> dict[str, State]:
    return {name: {"exp_avg": torch.rand(200, 200), "exp_avg_sq": torch.rand(200, 200)} for name in names}


OPTIMIZERS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "optax": lambda names: {"opt_state": moments(names, "mu", "nu")},
    "optax without a name": lambda names: {"tx": {"0": {"count": torch.tensor(3), **moments(names, "mu", "nu")}}},
    "opt_state": lambda names: {"opt_state": moments(names, "exp_avg")},
    "opt": lambda names: {"opt": {"state": per_tensor(names)}},
    "adam": lambda names: {"adam": moments(names, "m", "v")},
    "averages": lambda names: moments(names, "exp_avg", "exp_avg_sq"),
    "averages of each tensor": lambda names: {"moments": per_tensor(names)},
    "two": lambda names: {"g_optim": moments(names, "m"), "netGoptimizer": moments(names, "m")},
}


@pytest.mark.parametrize("is_tree", [False, True], ids=["state_dict", "tree"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_tensors_of_an_optimizer_are_never_taken(
    tmp_path: Path, make: Callable[[list[str]], dict[str, Any]], is_tree: bool
) -> None:
    layers = {f"l{i}": {"weight": torch.rand(2, 2), "bias": torch.rand(2)} for i in range(2)}
    flat = {f"{layer}.{name}": tensor for layer, held in layers.items() for name, tensor in held.items()}
    content = {"params": layers if is_tree else flat, "step": 3, **make(["l0", "l1"] if is_tree else list(flat))}
    torch.save(content, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), flat)
    states = inspect(tmp_path / "w.pth").states
    assert [state.key for state in states if state.kind != "optimizer"] == ["params"]
    with pytest.raises(CheckpointError, match="expected a state dict"):
        open_checkpoint(tmp_path / "w.pth", state=next(s.key for s in states if s.kind == "optimizer"))


def test_the_network_called_opt_is_no_optimizer(tmp_path: Path) -> None:
    content = {"qformer": {"a.weight": torch.rand(2)}, "opt_model": {"a.weight": torch.rand(3)}}
    torch.save(content, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), content["opt_model"])
