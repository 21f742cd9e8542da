"""The `dpiat` form: every tensor belongs to a layer, structure comes from the dotted names alone.

A live module and its state dict give the same architecture, because the module is read through its state
dict. Path components only shape the tree, their text is never looked at; the last component of a name is
the role of the tensor in its layer (``weight``, ``running_mean``, ``pos_embed`` ...).

Which nodes of the tree are blocks: read a node's children as single layers or as groups. A group is a
block if it holds at least two convolution or linear layers, otherwise its layers count as single ones.
A node that has more blocks than single layers below it, or that contains such a node, is a container
and its items go to its parent one by one; any other node becomes a group itself. So a residual block, a
transformer block or an inverted residual is one block, while a stage is a list of blocks. A stage of one block
shows by that block being the only child of a node, beside at most one convolution that leads there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from transfer.structure.records import Architecture, Block, Header, Item, Layer, Tensor

__all__ = ["from_header"]

_MAIN_ROLES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""Tensors with these roles under one path make one layer, in this order whatever the file's order."""

_SYNONYMS = {
    "cls_token": ("class_token", "class_embedding", "cls"),
    "pos_embed": (
        "pos_embedding",
        "position_embedding",
        "position_embeddings",
        "positional_embedding",
        "absolute_pos_embed",
        "pos_emb",
        "pos",
        "position",
        "positions",
    ),
    "reg_token": ("register_tokens", "reg_tokens", "registers"),
    "gamma": ("gamma_1", "gamma_2", "gamma_3", "gamma1", "gamma2", "gamma3", "lambda1", "lambda2", "layer_scale"),
}
_STANDARD = {synonym: role for role, synonyms in _SYNONYMS.items() for synonym in synonyms}
"""What libraries call the same bare parameter; under one word, so that they match."""


_NORMS = (("gamma", "beta"), ("g", "b"), ("a_2", "b_2"), ("scale", "shift"), ("scale", "bias"), ("gain", "bias"))
"""What code that writes a norm by hand calls its scale and its shift."""

_STATISTICS = {"moving_mean": "running_mean", "moving_variance": "running_var", "moving_var": "running_var"}


@dataclass
class _Node:
    """One dotted prefix: the tensors right under it and the nodes below."""

    path: str
    tensors: list[Tensor] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)


@dataclass
class _Group:
    """Result for one node: its items and what the parent has to know of them."""

    items: list[Item]
    is_container: bool
    is_alone: bool = False
    """Whether it is the only child of a node: perhaps a list of one."""

    @property
    def is_block(self) -> bool:
        return not self.is_container and _n_weighted(self.items) >= 2


def from_header(
    header: Header, input_first: Collection[str] = (), read_as: Mapping[str, str] | None = None
) -> Architecture:
    """Standardize tensor names and shapes.

    Parameters
    ----------
    header : mapping of str to Signature
    input_first : collection of str
        Names of matrices that are known to be stored with their inputs first; others tell by their bias.
    read_as : mapping of str to str, optional
        What to read instead of names that say nothing, or something else.

    Returns
    -------
    Architecture
        In ``dpiat`` form; every tensor of the header is in exactly one layer.
    """
    names = {read_as.get(name, name) if read_as else name: name for name in header}
    told = _told_by_bias({read: header[name] for read, name in names.items()})
    root = _tree(header, names, {*input_first, *(names[read] for read in told)})
    while not root.tensors and len(root.children) == 1:  # a wrapper such as "module." changes nothing
        (root,) = root.children.values()
    items: list[Item] = list(_own_layers(root))
    for child in root.children.values():
        items.extend(_as_items(_visit(child)))
    return Architecture("dpiat", tuple(items))


def _told_by_bias(header: Header) -> set[str]:
    """Find the matrices stored with their inputs first: as many biases as columns, and not as many as rows.

    Square ones do not tell; they are like the majority of the others.
    """
    first: set[str] = set()
    square: set[str] = set()
    n_usual = 0
    for name, (shape, _) in header.items():
        bias = header.get(name.removesuffix("weight") + "bias") if name.endswith("weight") else None
        if bias is not None and len(shape) == 2 and len(bias.shape) == 1 and bias.shape[0] in shape:
            if shape[0] == shape[1]:
                square.add(name)
            elif bias.shape[0] == shape[1]:
                first.add(name)
            else:
                n_usual += 1
    return first | square if len(first) > n_usual else first


def _tree(header: Header, names: Mapping[str, str], input_first: Collection[str]) -> _Node:
    root = _Node("")
    for read, name in names.items():
        signature = header[name]
        *parts, role = read.split(".")
        node = root
        for part in parts:
            child = node.children.get(part)
            if child is None:
                child = node.children[part] = _Node(f"{node.path}.{part}" if node.path else part)
            node = child
        is_swapped = name in input_first and len(signature.shape) == 2
        shape = signature.shape[::-1] if is_swapped else signature.shape
        node.tensors.append(Tensor(role, shape, name, signature.dtype, is_swapped))
    return root


def _visit(node: _Node) -> _Group:
    own = _own_layers(node)
    groups = [_visit(child) for child in node.children.values()]
    if not own and len(groups) == 1:
        return replace(groups[0], is_alone=True)
    items: list[Item] = [*own]
    for group in groups:
        items.extend(_as_items(group))
    n_blocks = sum(isinstance(item, Block) for item in items)
    is_stage = (
        not own and n_blocks == 1 and any(g.is_block and g.is_alone for g in groups) and _n_weighted(items) <= 1
    )
    if is_stage or any(group.is_container for group in groups) or n_blocks > len(items) - n_blocks:
        return _Group(items, is_container=True)
    flat: list[Item] = []
    for item in items:
        flat.extend(item.layers if isinstance(item, Block) else (item,))
    return _Group(flat, is_container=False)


def _as_items(group: _Group) -> list[Item]:
    if group.is_block:
        return [Block(tuple(item for item in group.items if isinstance(item, Layer)))]
    return group.items


def _n_weighted(items: list[Item]) -> int:
    return sum(isinstance(item, Layer) and item.kind.startswith(("conv", "linear")) for item in items)


def _own_layers(node: _Node) -> list[Layer]:
    """Layers made of the tensors right under a path.

    The usual roles make one layer; ``in_proj_weight`` and ``in_proj_bias`` (a common prefix) make one;
    any other tensor (class token, position embedding, layer scale, bias table) is a layer of its own.
    """
    if not node.tensors:
        return []
    by_prefix: dict[str, dict[str, Tensor]] = {}
    alone: list[Tensor] = []
    known = _roles_of_a_norm(node.tensors)
    for tensor in node.tensors:
        prefix, role = _split_role(known.get(tensor.role, tensor.role))
        if role is None:
            alone.append(tensor)
        else:
            by_prefix.setdefault(prefix, {})[role] = tensor
    layers = []
    for prefix, tensors in by_prefix.items():
        if "weight" not in tensors and "running_mean" not in tensors:
            alone.extend(tensors.values())
            continue
        ordered = tuple(replace(tensors[role], role=role) for role in _MAIN_ROLES if role in tensors)
        path = f"{node.path}.{prefix}".strip("._") if prefix else node.path
        layers.append(Layer(_kind(tensors), ordered, path))
    position = {tensor.name: i for i, tensor in enumerate(node.tensors)}
    alone.sort(key=lambda t: position[t.name])
    layers.extend(
        Layer(
            f"parameter:{_STANDARD.get(tensor.role, tensor.role)}",
            (tensor,),
            f"{node.path}.{tensor.role}".strip("."),
        )
        for tensor in alone
    )
    layers.sort(key=lambda layer: min(position[t.name] for t in layer.tensors))
    return layers


def _roles_of_a_norm(tensors: Sequence[Tensor]) -> dict[str, str]:
    """Roles by what a norm's scale and shift are called, if two vectors of one size are called so."""
    shapes = {tensor.role: tensor.shape for tensor in tensors}
    if "weight" in shapes:
        return {}
    for scale, shift in _NORMS:
        if scale in shapes and shapes.get(shift) == shapes[scale] and 1 < prod(shapes[scale]) == max(shapes[scale]):
            return {scale: "weight", shift: "bias"} | {
                name: _STATISTICS[name] for name in shapes if name in _STATISTICS
            }
    return {}


def _split_role(role: str) -> tuple[str, str | None]:
    if role in _MAIN_ROLES:
        return "", role
    for suffix in ("weight", "bias"):
        if role.endswith("_" + suffix):
            return role.removesuffix(suffix), suffix
    return "", None


def _kind(tensors: Mapping[str, Tensor]) -> str:
    if "running_mean" in tensors:
        return "batchnorm"
    shape = tensors["weight"].shape
    if len(shape) > 1 and "bias" in tensors and tensors["bias"].shape == shape and prod(shape) == max(shape):
        return "norm"  # also one of shape (C, 1, 1); a convolution has its biases in a row
    n_dims = len(shape)
    return {0: "scale", 1: "norm", 2: "linear"}.get(n_dims, f"conv{n_dims - 2}d")
