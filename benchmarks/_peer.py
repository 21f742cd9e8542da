"""iatransfer 1.0.3, the authors' implementation, as a peer.

It is no dependency: it is installed for a run into a folder. Its own ``__init__`` imports everything down to
plotting, so an empty package takes its place before the needed submodules are imported.
"""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

from torch import nn

VERSION = "1.0.3"


def install(folder: str | Path, *packages: str) -> bool:
    """Install packages without what they depend on, and let them be imported; False if that is not possible."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
    sys.path.insert(0, str(folder))
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def install_iatransfer(folder: str | Path) -> bool:
    return install(folder, f"iatransfer=={VERSION}", "inflection")


def load_iatransfer(folder: str | Path) -> SimpleNamespace:
    """Return the classes of its default method, once it is installed in a folder."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    toolkit = types.ModuleType("iatransfer.toolkit")
    toolkit.__path__ = [str(Path(folder) / "iatransfer" / "toolkit")]
    sys.modules["iatransfer.toolkit"] = toolkit
    from iatransfer.toolkit.matching.dp_matching import DPMatching
    from iatransfer.toolkit.score.shape_score import ShapeScore
    from iatransfer.toolkit.standardization.blocks_standardization import BlocksStandardization
    from iatransfer.toolkit.transfer.clip_transfer import ClipTransfer

    return SimpleNamespace(
        DPMatching=DPMatching,
        ShapeScore=ShapeScore,
        BlocksStandardization=BlocksStandardization,
        ClipTransfer=ClipTransfer,
    )


def run_iatransfer(toolkit: SimpleNamespace, source: nn.Module, target: nn.Module) -> None:
    """Transfer as its default method does, in place."""
    matching, score, standardize = toolkit.DPMatching(), toolkit.ShapeScore(), toolkit.BlocksStandardization()
    score.precompute_scores(source, target)
    matching.set_score(score)
    toolkit.ClipTransfer()(matching(standardize(source), standardize(target), context={}))
