"""A small network with values of its own."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(3)
    return nets.randomise(nets.conv_net(4, 2), 3)
