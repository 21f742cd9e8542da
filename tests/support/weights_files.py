"""What files of weights hold, as the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from transfer.weights.checkpoint import open_checkpoint

State = dict[str, torch.Tensor]


class Configuration:
    """As anybody's."""

    def __init__(self) -> None:
        self.lr, self.path = 0.1, Path("here")


def held(path: Path, **options: Any) -> State:
    checkpoint = open_checkpoint(path, **options)
    with checkpoint.opened() as read:
        found = {name: read(name).clone() for name in checkpoint.header}
    for name, signature in checkpoint.header.items():
        assert tuple(found[name].shape) == signature.shape
        assert str(found[name].dtype) == f"torch.{signature.dtype}"
    return found


def assert_same(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def assert_holds(path: Path, expected: dict[str, torch.Tensor]) -> None:
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.header) == list(expected)
    with checkpoint.opened() as read:
        for name, tensor in expected.items():
            signature = (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            assert checkpoint.header[name] == signature
            assert torch.equal(read(name), tensor)
