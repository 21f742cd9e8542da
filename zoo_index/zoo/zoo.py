"""The zoo: one object for everything that people do with the index; `keeping` has what keeps it.

The matcher, and with it numpy and numba, is imported by the methods that need it: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from transfer.execution.coverage import LEAST_COVERAGE, check_least
from transfer.structure.headers import as_module
from transfer.structure.standardization import check_form
from zoo_index.database.opening import default_place
from zoo_index.foundation.progress import advance_bytes, step
from zoo_index.recommending.answers import Filters
from zoo_index.zoo.adding import Adder
from zoo_index.zoo.asking import Asker

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.reports import TransferReport
    from transfer.options import Options

__all__ = ["Zoo", "open_zoo"]


def open_zoo(place: str | os.PathLike[str] | None = None) -> Zoo:
    """Open the index.

    Parameters
    ----------
    place : str or path, optional
        Of the database: a file, or ``postgresql://user@host/name``; by default ``ZOO_DB``, else a file in the
        user's data folder.

    Returns
    -------
    Zoo

    Raises
    ------
    InputError
        If no file can have that path.
    """
    return Zoo(place if place is not None else default_place())


class Zoo(Asker, Adder):
    """Index of pretrained networks.

    Parameters
    ----------
    place : str or path
        Of the database (see `open_zoo`).
    """

    def transfer(
        self,
        target: nn.Module | str,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        sources: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        method: str = "dpiat",
        options: Options | None = None,
        filters: Filters | None = None,
        example: object = None,
        min_coverage: float = LEAST_COVERAGE,
        verify: bool = True,
        allow_nonfinite: bool = False,
        ema: bool = False,
        state: str | None = None,
        device: str = "cpu",
    ) -> tuple[nn.Module, TransferReport]:
        """Transfer weights into a target.

        Parameters
        ----------
        target : nn.Module or str
            Written in place, on whatever device it is; a string is built first.
        source : str or path, optional
            An entry or architecture of the index, or a checkpoint. By default the best recommended one. Of several,
            what the first leaves fresh is filled by the next.
        sources : int, optional
            How many there may be; by default as many as are named, at least one. Those that are not named are
            recommended: the first for the target, each of the others for what is left fresh, if one can supply at
            least half of that.
        weights : path, optional
            File with the weights of `source`, where they are not to be fetched.
        method : {'dpiat', 'paper'}
        options : Options, optional
            For ``dpiat``.
        filters : Filters, optional
            What the source must be, recommended or named.
        example : Tensor, tuple, mapping or str, optional
            What the target takes, where a guess does not do (see `transfer.plan`).
        min_coverage : float
            Refuse to fill a smaller part of the target; it is unchanged then.
        verify : bool
            Run both networks in the end, where that can be done in seconds, and compare their outputs.
        allow_nonfinite : bool
        ema : bool
            Take the averaged weights that the checkpoint keeps beside the plain ones.
        state : str, optional
            Which state dict of the checkpoint to take, where it holds several (see `open_checkpoint`).
        device : str
            Where a target that is built here goes: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.

        Returns
        -------
        target : nn.Module
        report : TransferReport

        Raises
        ------
        WeightsUnavailableError
            If the weights are not at hand and cannot be fetched.
        CoverageError
            If less than `min_coverage` of the target would be filled.
        """
        from transfer.tracing.given import give_example
        from zoo_index.transferring.sources import check_sources
        from zoo_index.transferring.transfers import build_on, fill, left_fresh
        from zoo_index.zoo.further import find_sources

        form = check_form(method)
        check_least(min_coverage)
        named = [source] if isinstance(source, str | os.PathLike) else list(source or ())
        n = max(len(named), 1) if sources is None else sources
        check_sources(named, n, form, weights=weights, ema=ema, state=state)
        filters = filters or Filters()
        module = as_module(target)
        name = type(target).__name__ if module is not None else str(target)
        if module is None:
            module = build_on(device, str(target), example)
        elif example is not None:
            give_example(module, example)
        places = find_sources(
            self,
            lambda: module,
            named,
            lambda places: left_fresh(module, places, options),
            n=n,
            method=form,
            filters=filters,
            weights=weights,
        )
        report = fill(
            module,
            places,
            method=form,
            options=options,
            min_coverage=min_coverage,
            verify=verify,
            allow_nonfinite=allow_nonfinite,
            ema=ema,
            state=state,
            target_name=name,
            progress=lambda what: step(f"{name}: {what}"),
            advance=partial(advance_bytes, f"{name}: copy"),
        )
        return module, report

    def transfer_to_file(
        self,
        target: str,
        output: str | os.PathLike[str],
        source: str | Sequence[str] | None = None,
        **options: Any,
    ) -> TransferReport:
        """Build a target, transfer into it and save it as safetensors.

        Parameters
        ----------
        target : str
            Code or a timm name.
        output : path
            Replaced whole, or left as it is if anything fails.
        source : str or sequence of str, optional
        **options
            As `transfer`.

        Returns
        -------
        TransferReport

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from zoo_index.transferring.transfers import save

        return save(*self.transfer(target, source, **options), output)
