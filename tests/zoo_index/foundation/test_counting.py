"""Numbers stand before nouns that fit them."""

from __future__ import annotations

import pytest

from zoo_index.foundation.counting import counted


@pytest.mark.parametrize(
    ("n", "what", "said"),
    [
        (0, "layer", "0 layers"),
        (1, "layer", "1 layer"),
        (2, "single layer", "2 single layers"),
        (1, "entry", "1 entry"),
        (2, "key", "2 keys"),
        (2, "day", "2 days"),
        (1981, "entry", "1,981 entries"),
        (1, "class", "1 class"),
        (1000, "class", "1,000 classes"),
    ],
)
def test_a_noun_fits_its_number(n: int, what: str, said: str) -> None:
    assert counted(n, what) == said
