"""Networks are run to see what they do; nothing of what they do, or of the caller's settings, crosses over."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

import transfer
from transfer.tracing.flow import trace_flow
from zoo_index.catalogues.timm_catalogue import build


class Meddling(nn.Module):
    """Residual network that keeps tensors in its class, changes settings, and whose copy calls the original."""

    cache: ClassVar[dict[int, torch.Tensor]] = {}
    last: ClassVar[torch.Tensor | None] = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(width, 5)
        self.again = lambda x: x + self.norm(self.conv(x.new_zeros(1, 3, 8, 8))).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores of five classes."""
        random.random()
        np.random.rand()  # the global state is what is to be kept
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        Meddling.cache[x.shape[-1]] = Meddling.last = self.seen = x
        y = self.norm(self.conv(x)).mean((2, 3))
        try:
            y = self.again(y)
        except RuntimeError:  # meta and CPU do not mix
            self.again(torch.zeros(1, 1))
        return self.fc(y)


def test_nothing_of_what_a_network_does_reaches_the_caller() -> None:
    source, target = Meddling(8), Meddling(12)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    called: list[nn.Module] = []
    hook = register_module_forward_hook(lambda module, *_: called.append(module))
    transfer.plan(source, target)
    hook.remove()
    assert not called
    assert not Meddling.cache
    assert Meddling.last is None
    assert not hasattr(target, "seen")
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert all(module.training for module in target.modules())
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("dtype", "surroundings"),
    [
        (torch.float16, nullcontext),
        (torch.bfloat16, nullcontext),
        (torch.float64, nullcontext),
        (torch.float32, lambda: default_dtype(torch.float64)),
        (torch.float32, lambda: torch.device("meta")),
        (torch.float32, torch.inference_mode),
        (torch.float32, lambda: torch.autocast("cpu")),
    ],
)
def test_precision_and_the_callers_settings_do_not_change_what_is_seen(
    dtype: torch.dtype, surroundings: Callable[[], AbstractContextManager[object]]
) -> None:
    expected = trace_flow(build("test_convnext"))
    with surroundings():
        assert trace_flow(build("test_convnext").to(dtype)) == expected
    assert expected is not None


@pytest.mark.parametrize("name", ["inception_v3", "vit_tiny_patch16_384", "vit_small_patch14_dinov2"])
def test_networks_of_unusual_image_sizes_are_run(name: str) -> None:
    assert trace_flow(build(name)) is not None


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Embedding(50, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 50)),
        (nn.Conv1d(7, 8, 3), nn.Conv1d(8, 4, 3)),
        (nn.Conv3d(2, 8, 3), nn.Conv3d(8, 4, 3)),
        (nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 4)),
        (nn.Flatten(), nn.Linear(784, 8), nn.Linear(8, 4)),
    ],
)
def test_networks_for_other_data_than_images_are_run(layers: tuple[nn.Module, ...]) -> None:
    flow = trace_flow(nn.Sequential(*layers))
    assert flow is not None
    last = flow.reads[f"{len(layers) - 1}.weight"]
    assert 0 not in last
    assert len(set(last)) == 8


def test_networks_that_give_more_than_a_tensor_are_run() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"features": self.a(x), "out": self.b(self.a(x))}

    flow = trace_flow(Two())
    assert flow is not None
    assert flow.reads["b.weight"] == flow.writes["a.weight"]
