"""Foreign text becomes plain text, and names that do not print are not kept."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.errors import InputError
from zoo_index.foundation.plain_text import MOST_IN_A_NAME, check_name, plain

ANY = st.text(st.characters(codec=None, exclude_categories=()))
"""Whatever a str can hold, lone surrogates too."""


@given(ANY)
def test_the_result_prints(text: str) -> None:
    made = plain(text)
    assert made.isprintable()
    assert plain(made) == made
    made.encode()  # no surrogate is left
    assert (made == text) == text.isprintable()


@given(ANY, st.integers(3, 40))
def test_the_result_is_never_longer_than_asked(text: str, most: int) -> None:
    made = plain(text, most)
    assert made.isprintable()
    assert len(made) <= most
    assert plain(made, most) == made
    whole = plain(text)
    assert made == whole or (made.endswith("...") and whole.startswith(made[:-3]))
    assert (made == whole) == (len(whole) <= most)


def test_every_character_that_steers_is_shown_as_an_escape() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            shown = plain(char)
            assert shown.startswith("\\")
            assert shown.isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\r\nlines", "two\\r\\nlines"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("\udcff", "\\udcff"),
        ("\x9b1m", "\\x9b1m"),
        ("漢字 Ελλάδα עברית [/b] :smile:", "漢字 Ελλάδα עברית [/b] :smile:"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(ANY)
def test_a_name_that_is_kept_prints(text: str) -> None:
    if text.isprintable() and len(text) <= MOST_IN_A_NAME:
        assert check_name(text, "a name") == text
    else:
        with pytest.raises(InputError, match="expected a name of"):
            check_name(text, "a name")
