"""Index of pretrained networks: refresh it, ask it for the best source, transfer.

    >>> import zoo_index                                               # doctest: +SKIP
    >>> report = zoo_index.warm_start(model, available=True)           # doctest: +SKIP
    >>> zoo_index.save_html(report, "report.html")                     # doctest: +SKIP

Names are resolved on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_index.recommending.answers import Filters, Recommendation, Recommendations
    from zoo_index.reports.saving import save_html, save_plot
    from zoo_index.zoo.warm import warm_start
    from zoo_index.zoo.zoo import Zoo, open_zoo

_HOME = {
    "Filters": "recommending.answers",
    "Recommendation": "recommending.answers",
    "Recommendations": "recommending.answers",
    "Zoo": "zoo.zoo",
    "open_zoo": "zoo.zoo",
    "save_html": "reports.saving",
    "save_plot": "reports.saving",
    "warm_start": "zoo.warm",
}

__all__ = [
    "Filters",
    "Recommendation",
    "Recommendations",
    "Zoo",
    "open_zoo",
    "save_html",
    "save_plot",
    "warm_start",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'zoo_index' has no attribute {name!r}")
    value = getattr(import_module(f"zoo_index.{home}"), name)
    globals()[name] = value
    return value
