"""Text from outside as plain text: nothing in it can steer a terminal, break a line or pass for markup.

Names, licences and error texts come from files, catalogues and hubs. Whatever is printed goes through `plain`
(`_page` for tables, `cli_common.say` for messages); what is kept under a name is checked when it is added.
"""

from __future__ import annotations

from transfer.errors import InputError

__all__ = ["MOST_IN_A_NAME", "check_name", "plain", "plain_lines"]

MOST_IN_A_NAME = 200
"""Characters; the longest name of timm has some 70."""

_CUT = "..."


def plain(text: str, most: int | None = None) -> str:
    r"""Write every character that does not print as a visible escape such as ``\x1b``.

    These are control characters, line breaks, marks of writing direction and other format characters, spaces but
    the plain one, lone surrogates, and code points without a character. Letters of any script stay.

    Parameters
    ----------
    text : str
    most : int, optional
        Characters of the result, 3 or more; what is longer loses its end and shows dots.

    Returns
    -------
    str
        For which `str.isprintable` holds. Printable text of at most `most` characters comes back as it is.
    """
    if most is not None and len(text) > most:
        text = text[: most + 1]  # escapes only make it longer, so that the rest cannot count
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    if most is not None and len(text) > most:
        return text[: most - len(_CUT)] + _CUT
    return text


def plain_lines(text: str) -> str:
    """As `plain` for a text of lines: line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or char.isprintable() else ascii(char)[1:-1] for char in text)


def check_name(text: str, what: str) -> str:
    """Return a name that is to be kept, if it can be printed as it is.

    Parameters
    ----------
    text : str
    what : str
        What it names, for the message.

    Raises
    ------
    InputError
        If it is too long, or holds a line break or another character that does not print.
    """
    if len(text) > MOST_IN_A_NAME:
        raise InputError(
            f"expected {what} of at most {MOST_IN_A_NAME} characters, got {len(text):,}, which begin with "
            f"{text[:40]!r}; take a shorter one"
        )
    odd = next((char for char in text if not char.isprintable()), None)
    if odd is not None:
        raise InputError(
            f"expected {what} of printable characters, got {text!r} with {ascii(odd)[1:-1]} in it; leave that out"
        )
    return text
