"""Numbers of things in words: one entry, two entries."""

from __future__ import annotations

__all__ = ["counted", "noun"]


def counted(n: int, what: str) -> str:
    """Say how many there are of something, such as ``1 entry`` or ``1,263 entries``.

    Parameters
    ----------
    n : int
    what : str
        One of them; of several words the last one is bent.
    """
    return f"{n:,} {noun(n, what)}"


def noun(n: float, what: str) -> str:
    """Return a noun as it stands behind a number: ``entry`` behind 1, ``entries`` behind any other."""
    if n == 1:
        return what
    if what.endswith("y") and what[-2:-1] not in "aeiou":
        return f"{what[:-1]}ies"
    return f"{what}es" if what.endswith("s") else f"{what}s"
