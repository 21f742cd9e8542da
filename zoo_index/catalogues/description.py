"""Architectures on their way into the database: nameless, each distinct item once, cheap to send.

Worker processes return these instead of networks, so that only a little text crosses the process border.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from transfer.structure.behaviour import facts_of
from transfer.structure.records import Architecture, Block, Form, canonical_texts
from zoo_index.catalogues.wiring_text import wiring_texts

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "FEATURES",
    "Description",
    "EncodedArchitecture",
    "EncodedItem",
    "PassedOver",
    "describe",
    "describe_network",
    "digest",
    "encode",
]

FEATURES = 6
"""Version of the standardization; raised when the same network would give another architecture, or two
architectures another similarity."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Why an entry is none after all: there is no network to be had, and nothing is wrong."""

    reason: str


@dataclass(frozen=True, slots=True)
class EncodedItem:
    """A block, or a single layer, as the canonical JSON of its layers."""

    single: bool
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EncodedArchitecture:
    """One form of an architecture.

    Parameters
    ----------
    form : {'paper', 'dpiat'}
    fingerprint : str
    n_scoring : int
    items : tuple of EncodedItem
        Distinct ones.
    order : tuple of int
        The architecture as positions in `items`.
    """

    form: Form
    fingerprint: str
    n_scoring: int
    items: tuple[EncodedItem, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What the index keeps of a network.

    The paper form is missing where there was no module, facts and wiring where it could not be run.
    """

    name: str
    n_params: int
    dpiat: EncodedArchitecture
    paper: EncodedArchitecture | None
    facts: tuple[str, ...] = ()
    wiring: tuple[str, ...] = ()

    def form(self, name: Form) -> EncodedArchitecture | None:
        """Return the architecture in one form, if it has it."""
        return self.dpiat if name == "dpiat" else self.paper


def encode(architecture: Architecture) -> EncodedArchitecture:
    """Strip the names and number the distinct items."""
    rows: dict[EncodedItem, int] = {}
    order = []
    texts = iter(canonical_texts(architecture.layers()))
    for item in architecture.items:
        text = tuple(islice(texts, len(item.layers)))
        order.append(rows.setdefault(EncodedItem(not isinstance(item, Block), text), len(rows)))
    return EncodedArchitecture(
        architecture.form, architecture.fingerprint, architecture.n_scoring, tuple(rows), tuple(order)
    )


def describe(name: str, dpiat: Architecture, paper: Architecture | None, n_params: int) -> Description:
    """Encode both forms of a network."""
    encoded = encode(dpiat), encode(paper) if paper else None
    return Description(name, n_params, *encoded, facts_of(dpiat), wiring_texts(dpiat))


def describe_network(name: str, network: nn.Module) -> Description:
    """Standardize a network on the meta device, in both forms."""
    from transfer.structure.standardization import standardize

    return describe(
        name,
        standardize(network),
        standardize(network, method="paper"),
        sum(parameter.numel() for parameter in network.parameters()),
    )


def digest(*texts: str) -> str:
    """Sha256 (hex) of some texts in order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
