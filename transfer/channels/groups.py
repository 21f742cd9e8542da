"""Records of coupled channels: a group, and the dimensions of tensors that its channels lie along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Group", "Port", "Side"]

Side = Literal["writes", "reads", "scales"]


@dataclass(frozen=True, slots=True)
class Port:
    """A dimension of a tensor along which a group's channels lie.

    Parameters
    ----------
    tensor : str
        Name in the state dict.
    dim : int
    side : {'writes', 'reads', 'scales'}
        Outputs of a layer that mixes channels (and its bias), inputs of one, or anything channel by channel: norms,
        layer scales, depthwise convolutions, tokens.
    parts : int
        How often the channels are repeated as a whole: value and gate, or patches that are merged.
    stride : int
        Number of neighbouring indices of one channel: positions, where a feature map was flattened.
    """

    tensor: str
    dim: int
    side: Side
    parts: int = 1
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that belong together.

    Parameters
    ----------
    width : int
        Number of channels.
    ports : tuple of Port
        In the order of the layers.
    """

    width: int
    ports: tuple[Port, ...]
