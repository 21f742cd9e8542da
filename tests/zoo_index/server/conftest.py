from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server, serving

from zoo_index.index.layout import open_layout
from zoo_index.zoo.zoo import Zoo


@pytest.fixture(scope="session")
def server(small_index: Path) -> Iterator[Server]:
    """A server that all tests may ask; none may change its index."""
    zoo = Zoo(small_index)
    open_layout(zoo.store, zoo.ensure().generation)
    zoo.store.close()
    with serving(small_index, "--seconds", "30", "--waiting", "4") as found:
        yield found
