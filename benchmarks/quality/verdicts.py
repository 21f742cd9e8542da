"""Calibrates what `recommend` says of the benefit to be expected, from the gains that were measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from zoo_index.recommending.verdicts import Calibration

RANGES = {"strong": 0.7, "some": 0.4, "none": 0.2, "likely to hurt": 0.0}
"""Least similarity; chosen where the gains change: see the plot of gain against similarity."""

MARGIN = 0.03
PLACE = Path(__file__).parents[2] / "zoo_index" / "recommending" / "verdicts.json"


def calibrate(similarities: Sequence[float], gains: Sequence[float]) -> list[Calibration]:
    """Summarize the gains of every range of similarities."""
    found, upper = [], np.inf
    for benefit, least in RANGES.items():
        chosen = np.array([gain for like, gain in zip(similarities, gains, strict=True) if least <= like < upper])
        upper = least
        found.append(
            Calibration(
                benefit,
                least,
                len(chosen),
                round(float(np.median(chosen)), 3),
                round(float(np.quantile(chosen, 0.1)), 3),
                int((chosen < 1 - MARGIN).sum()),
                MARGIN,
            )
        )
    return found


def keep(found: Sequence[Calibration]) -> None:
    """Write what zoo reads."""
    PLACE.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
