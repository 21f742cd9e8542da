"""Bring a header of unknown order into the order of execution, as far as another network tells it.

Structure is read from order, and some files (safetensors) are sorted by name instead: a norm then comes before its
convolution. Where the other network, the target, has the same names, siblings go in its order. Where it has other
names, its layers are looked for (see `counterparts`); if nearly all are found, the file is another way of writing
the target, and is read as the target is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from transfer.structure.counterparts import Counterparts, counterparts
from transfer.structure.dpiat_form import from_header
from transfer.structure.execution_order import as_executed
from transfer.structure.layers import is_weighted
from transfer.structure.records import Architecture, Header, Layer, Signature, Tensor

__all__ = ["have_same_names", "ordered_like", "read_like"]


def read_like(
    header: Header,
    like: Header,
    input_first: Collection[str] = (),
    read_as: Mapping[str, str] | None = None,
    factors: Collection[str] | None = None,
) -> tuple[Architecture, bool]:
    """Standardize a header of unknown order with the help of another one.

    Parameters
    ----------
    header : mapping of str to Signature
        Whose order says nothing.
    like : mapping of str to Signature
        In the order of execution.
    input_first : collection of str
        Names of its matrices that are known to be stored with their inputs first.
    read_as : mapping of str to str, optional
        What to read instead of some of its names, see `from_header`.
    factors : collection of str, optional
        Names of its matrices that something is multiplied by, where that is known: not tables that rows are looked
        up in.

    Returns
    -------
    architecture : Architecture
        In ``dpiat`` form. Paths of layers may be those of `like`; the names of tensors are their own.
    is_sure : bool
        False where the order, and what came of it, is a guess.
    """
    if have_same_names(header, like):
        return _executed({name: header[name] for name in like}, input_first, read_as), True
    if sum(name in like for name in header) >= len(header) / 2:
        return _executed(ordered_like(header, like), input_first, read_as), True
    read_as = read_as or {}
    if any(map(is_weighted, from_header(header).layers())):
        like = {read_as.get(name, name): signature for name, signature in like.items()}
        found = counterparts(header, like)
        written = _written_like(found, header)
        turned = _turned(found, None if factors is None else {read_as.get(name, name) for name in factors})
    else:  # bare parameters, like those of the other network, perhaps
        found = counterparts(header, like)
        names_there = _written_like(found, header) or {}
        turned = {own for own, name in names_there.items() if name in input_first}
        written = {own: read_as.get(name, name) for own, name in names_there.items()} or None
    if found.is_same and written is not None:
        return _executed({own: header[own] for own in written}, turned, written), found.is_sure
    names = (tensor.name for layer in found.order for tensor in layer.tensors)
    return _executed({name: header[name] for name in names}), found.is_sure


def have_same_names(header: Header, like: Header) -> bool:
    """Whether two networks have tensors of the same names, in whatever order."""
    return header.keys() == like.keys()


def _executed(
    header: Header, input_first: Collection[str] = (), read_as: Mapping[str, str] | None = None
) -> Architecture:
    """Standardize a header in the order of execution."""
    architecture = from_header(header, input_first, read_as)
    order = {name: i for i, name in enumerate(header)}
    return Architecture(architecture.form, as_executed(architecture.items, order))


def _written_like(found: Counterparts, header: Header) -> dict[str, str] | None:
    """Give tensors the names of the other network, so that layers group as they do there.

    Returns
    -------
    dict of str to str
        By their own names, in order; None if two would have one name.
    """
    names: dict[str, str] = {}
    after: dict[str, list[Layer]] = {}
    met = {layer.path for source, _ in found.pairs for layer in source}
    last = ""
    for layer in found.order:
        if layer.path in met:
            last = layer.path
        else:
            after.setdefault(last, []).append(layer)
    for layer in after.get("", ()):
        names |= _left(layer, len(names))
    for source, target in found.pairs:
        for name, tensor in _met(source, target):
            names[name] = tensor.name
        for layer in source:
            for other in after.get(layer.path, ()):
                names |= _left(other, len(names))
    return {own: name for name, own in names.items()} if len(names) == len(header) else None


def _turned(found: Counterparts, factors: Collection[str] | None) -> set[str]:
    """Names of the source's matrices that lie the other way round than their counterparts."""
    return {
        tensor.name
        for source, target in found.pairs
        for _, tensor in _met(source, target)
        if _is_turned(tensor, target, factors)
    }


def _met(source: Sequence[Layer], target: Sequence[Layer]) -> Iterator[tuple[str, Tensor]]:
    """Names for the tensors of layers that met others; vectors with a fused layer's biases go into its folder."""
    sides = [
        ([x for x in side if not _is_vector(x)], [x for x in side if _is_vector(x)]) for side in (source, target)
    ]
    (own, vectors), (other, other_vectors) = sides if len(source) > 1 else ((source, ()), (target, ()))
    for i, layer in enumerate(own):
        part = str(i) if len(own) > len(other) else ""
        for tensor in layer.tensors:
            yield _renamed(tensor, layer, other[0], part), tensor
    for i, vector in enumerate(vectors):
        is_same = len(vectors) == len(other_vectors)
        name = other_vectors[i].path if is_same else f"{other[0].path}.{vector.tensors[0].role}"
        yield name, vector.tensors[0]


def _is_turned(tensor: Tensor, target: Sequence[Layer], factors: Collection[str] | None) -> bool:
    """Whether of a matrix and its counterpart one is a bare parameter, as a rule with its inputs first."""
    other = target[0].tensors[0]
    if tensor.shape == other.shape and factors is not None and other.name not in factors:
        return False  # square by chance
    roles = [name == "weight" for name in (tensor.role, other.role)]
    return len(tensor.shape) == 2 and tensor.shape == other.shape[::-1] and roles[0] != roles[1]


def _is_vector(layer: Layer) -> bool:
    return layer.kind.startswith("parameter")


def _renamed(tensor: Tensor, layer: Layer, target: Layer, part: str) -> str:
    if len(layer.tensors) == len(target.tensors) == 1 and not part:
        return target.tensors[0].name
    same = next((t.name for t in target.tensors if t.role == tensor.role), None)
    if same is None and len(tensor.shape) == 2 and tensor is layer.tensors[0]:
        same = target.tensors[0].name
    if same is not None and not part:
        return same
    return f"{target.path}{part}.{tensor.role}"


def _left(layer: Layer, n: int) -> dict[str, str]:
    """Names, in a folder of their own, for the tensors of a layer that met nothing."""
    return {f"left{n}.{tensor.role}": tensor.name for tensor in layer.tensors}


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
