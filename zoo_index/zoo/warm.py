"""A warm start in one call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transfer.execution.coverage import LEAST_COVERAGE
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.verdicts import doubt
from zoo_index.zoo.zoo import open_zoo

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.reports import TransferReport

__all__ = ["warm_start"]


def warm_start(
    model: nn.Module,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    *,
    sources: int | None = None,
    available: bool = False,
    license: str | None = None,
    max_params: int | None = None,
    method: str = "dpiat",
    example: object = None,
    min_coverage: float = LEAST_COVERAGE,
    verify: bool = True,
    db: str | os.PathLike[str] | None = None,
) -> TransferReport:
    """Recommend a pretrained source for a model and copy its parameters in, in place.

    Parameters
    ----------
    model : nn.Module
        Freshly initialised; what the source cannot supply stays as it is, but see `Options.quiet_head`.
    source : str or path, optional
        Take this entry, architecture or checkpoint instead of the recommended one. Of several, what the first
        leaves fresh is filled by the next.
    sources : int, optional
        How many there may be, named or recommended; by default as many as are named, at least one.
    available : bool
        Consider only sources whose weights are on this machine; otherwise they are downloaded.
    license : str, optional
        Consider only these licences, separated by commas.
    max_params : int, optional
        Consider only sources up to this size.
    method : {'dpiat', 'paper'}
    example : Tensor, tuple, mapping of str to object, or str, optional
        What the model takes, where a guess does not do: run as ``model(x)``, ``model(*x)`` or ``model(**x)``; a
        string such as ``3x64x64`` gives sizes without the batch.
    min_coverage : float
        Refuse to fill a smaller part of the model.
    verify : bool
        Run both networks in the end, where that can be done in seconds, and compare their outputs.
    db : path, optional
        The index; by default the user's.

    Returns
    -------
    TransferReport

    Warns
    -----
    UserWarning
        If little or no benefit is to be expected of the source.

    Raises
    ------
    ZooError
        If no source is found, its weights cannot be had, or they fill too little; the model is unchanged then.
    """
    filters = Filters(available=available, license=license, max_params=max_params)
    _, report = open_zoo(db).transfer(
        model,
        source,
        sources=sources,
        method=method,
        filters=filters,
        example=example,
        min_coverage=min_coverage,
        verify=verify,
    )
    first = report.supplies[0].name if report.supplies else report.source
    wrong = doubt(first, report.similarity) if report.method == "dpiat" else ""  # verdicts are of its similarity
    if wrong:
        warnings.warn(wrong, stacklevel=2)
    return report
