"""What can be asked for and what is answered: filters, recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PERMISSIVE", "STRUCTURES", "Filters", "Recommendation", "Recommendations", "license_names"]

PERMISSIVE_NAME = "permissive"
PERMISSIVE = {
    "0bsd", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc0-1.0", "ecl-2.0", "isc", "mit",
    "ms-pl", "ncsa", "postgresql", "unlicense", "wtfpl", "zlib",
}  # fmt: skip
"""Licences, as hubs abbreviate them, that allow any use and ask for no more than to be named
(https://huggingface.co/docs/hub/repositories-licenses)."""


STRUCTURES = ("transformers",)
"""Catalogues of networks without weights: nothing can be taken from them, so they have to be asked for by name."""


def license_names(text: str, *, is_expanded: bool = True) -> set[str]:
    """Read the licences of a filter; ``permissive`` stands for all of `PERMISSIVE` unless that is left out."""
    wanted = {part.strip().lower() for part in text.split(",")}
    if PERMISSIVE_NAME in wanted:
        wanted = (wanted | PERMISSIVE) if is_expanded else (wanted - {PERMISSIVE_NAME})
    return wanted


@dataclass(frozen=True)
class Filters:
    """What an entry must be to be considered; None means anything.

    Parameters
    ----------
    license : str, optional
        One or several, separated by commas; ``unknown`` for entries without one, ``permissive`` for all of
        `PERMISSIVE`.
    max_params, min_params : int, optional
    family : str, optional
        As the catalogue groups architectures.
    search : str, optional
        Part of the name.
    catalogue : str, optional
    task, dataset : str, optional
        What the weights were trained for and on; ``unknown`` for entries of which that is not known.
    max_bytes : int, optional
        Of the weights; entries whose size is not known do not pass.
    min_downloads : int, optional
        Entries that are not counted do not pass.
    available : bool
        Only entries whose weights are on this machine.
    """

    license: str | None = None
    max_params: int | None = None
    min_params: int | None = None
    family: str | None = None
    search: str | None = None
    catalogue: str | None = None
    task: str | None = None
    dataset: str | None = None
    max_bytes: int | None = None
    min_downloads: int | None = None
    available: bool = False

    def admits(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry passes, availability aside."""
        if self.license and (entry["license"] or "unknown").lower() not in license_names(self.license):
            return False
        if entry["catalogue"] in STRUCTURES and self.catalogue != entry["catalogue"]:
            return False
        return (
            (self.max_params is None or entry["n_params"] <= self.max_params)
            and (self.min_params is None or entry["n_params"] >= self.min_params)
            and (self.family is None or entry["family"] == self.family)
            and (self.search is None or self.search.lower() in entry["name"].lower())
            and (self.catalogue is None or entry["catalogue"] == self.catalogue)
            and (self.task is None or (entry["task"] or "unknown") == self.task)
            and (self.dataset is None or (entry["dataset"] or "unknown") == self.dataset)
            and (self.max_bytes is None or (entry["n_bytes"] is not None and entry["n_bytes"] <= self.max_bytes))
            and (self.min_downloads is None or (entry["downloads"] or 0) >= self.min_downloads)
        )

    def describe(self) -> str:
        """Say which filters are set."""
        return ", ".join(f"{key}={value}" for key, value in asdict(self).items() if value not in (None, False))


@dataclass(frozen=True)
class Recommendation:
    """One source, with what people choose by.

    Parameters
    ----------
    rank : int
        From 1.
    name : str
        Entry.
    architecture, family, catalogue : str
    similarity : float
        Under the measure asked for, in [0, 1].
    paper_similarity : float or None
        The published measure; None for a source known only by its header.
    coverage : float
        Fraction of the target's elements that a transfer would write, in [0, 1].
    params : int
    license : str or None
    available : bool
        Whether the weights are on this machine.
    input_size : str
    n_classes : int
    n_weights : int
        Number of weight sets of this architecture that pass the filters.
    top1 : float or None
        Published accuracy on ImageNet in percent, where it was imported.
    benefit : {'strong', 'some', 'none', 'likely to hurt'} or None
        To be expected of a transfer by `dpiat`; None for a source of which only the published form is known.
    evidence : str
        What was measured at like similarity.
    """

    rank: int
    name: str
    architecture: str
    family: str
    catalogue: str
    similarity: float
    paper_similarity: float | None
    coverage: float
    params: int
    license: str | None
    available: bool
    input_size: str
    n_classes: int
    n_weights: int
    top1: float | None
    benefit: str | None
    evidence: str


@dataclass(frozen=True)
class Recommendations:
    """The answer to one question.

    Parameters
    ----------
    target : dict
        Name, fingerprint, parameters, layers of the target; of these ``blocks`` and ``single_layers``.
    measure : {'dpiat', 'paper'}
    results : tuple of Recommendation
        Best first.
    n_considered : int
        Architectures that passed the filters.
    n_scored : int
        Architectures that were scored exactly.
    seconds : float
    """

    target: dict[str, Any]
    measure: str
    results: tuple[Recommendation, ...]
    n_considered: int
    n_scored: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return asdict(self)
