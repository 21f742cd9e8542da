"""How little of a target may be filled: a transfer of next to nothing is no success."""

from __future__ import annotations

import math

from transfer.errors import CoverageError, InputError

__all__ = ["LEAST_COVERAGE", "check_coverage", "check_least"]

LEAST_COVERAGE = 0.01
"""Below it a few norms, a stem or a classifier are filled, which happen to fit, and the body is fresh: nothing of
what the source has learned can arrive where it was used."""


def check_least(least: float) -> None:
    """Refuse what cannot be a least coverage.

    Raises
    ------
    InputError
        If it is no number from 0 to 1.
    """
    is_number = isinstance(least, int | float) and not isinstance(least, bool)
    if not is_number or math.isnan(least) or not 0 <= least <= 1:
        raise InputError(f"expected a least coverage from 0 to 1, such as 0.9, got {least!r}")


def check_coverage(coverage: float, least: float, source: str) -> None:
    """Refuse a transfer that fills too little.

    Parameters
    ----------
    coverage, least : float
        In [0, 1].
    source : str
        What it is from.

    Raises
    ------
    CoverageError
        If the coverage is less.
    """
    if coverage < least:
        wanted, found = f"{100 * least:.12g}%", _below(coverage, least)
        raise CoverageError(
            f"expected to fill at least {wanted} of the target, {source!r} fills {found}; "
            "nothing was written; take another source (zoo recommend), or a smaller min_coverage (--min-coverage)"
        )


def _below(coverage: float, least: float) -> str:
    """Write a share with as many digits as tell it from a larger one."""
    written = ""
    for n_digits in range(1, 17):
        written = f"{coverage:.{n_digits}%}"
        if float(written[:-1]) < 100 * least:
            break
    return written
