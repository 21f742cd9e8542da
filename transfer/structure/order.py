"""Bring a header of unknown order into the order of registration, as far as another network tells it.

Structure is read from order, and some files (safetensors) are sorted by name instead: a norm then comes before its
convolution. Where the other network, the target, has the same names, siblings go in its order.
"""

from __future__ import annotations

from transfer.structure.records import Header, Signature

__all__ = ["ordered_like"]


def ordered_like(header: Header, like: Header) -> dict[str, Signature]:
    """Sort names level by level as another header has them.

    Parameters
    ----------
    header : mapping of str to Signature
        Whose order says nothing.
    like : mapping of str to Signature
        In the order of registration.

    Returns
    -------
    dict of str to Signature
        Siblings that both have go first, in the order of `like`. Others go by what `like` calls the same elsewhere
        (the layers of a further block), then as they were.
    """
    paths: dict[str, int] = {}
    components: dict[str, int] = {}
    for name in like:
        parts = name.split(".")
        for i, part in enumerate(parts):
            paths.setdefault(".".join(parts[: i + 1]), len(paths))
            if not part.isdigit():
                components.setdefault(part, len(components))
    first: dict[str, int] = {}
    keys: dict[str, tuple[tuple[int, int, int], ...]] = {}
    for name in header:
        parts = name.split(".")
        key = []
        for i, part in enumerate(parts):
            path = ".".join(parts[: i + 1])
            place = first.setdefault(path, len(first))
            known = paths.get(path)
            key.append((1, components.get(part, len(components)), place) if known is None else (0, known, 0))
        keys[name] = tuple(key)
    return {name: header[name] for name in sorted(header, key=keys.__getitem__)}
