"""Standardization: from a network or a checkpoint header to an `Architecture`.

One door for both forms; the rules live in `paper_form` (module tree, as published) and `dpiat_form`
(dotted tensor names, so that a bare checkpoint will do).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from transfer.errors import InputError, MethodError
from transfer.structure.dpiat_form import from_header
from transfer.structure.execution_order import as_executed
from transfer.structure.meaning import is_weighted
from transfer.structure.records import OUTPUT, Architecture, Block, Form, Header, Layer, Signature
from transfer.wiring import Wiring

if TYPE_CHECKING:
    from torch import nn

    from transfer.tracing.usage import Usage
    from transfer.weights.checkpoint import Checkpoint

    NetworkLike: TypeAlias = nn.Module | Architecture | Checkpoint | Mapping[str, Any] | str | os.PathLike[str]

__all__ = ["FORMS", "as_module", "check_form", "header_of", "read_names", "standardize", "standardize_header"]

_HEAD_SIZE = "head_dim"
_SEPARATE = 4
"""Query, key, value and output."""

_HEAD_COUNTS = ("num_heads", "n_heads", "n_head", "num_attention_heads")
"""What libraries call the number of heads of an attention."""

_EPSILONS = ("eps", "variance_epsilon")
"""What they call the number that a norm adds to the variance."""

FORMS: tuple[Form, ...] = ("paper", "dpiat")


def check_form(name: str, what: str = "method") -> Form:
    """Return `name` if it is a known method or measure.

    Raises
    ------
    MethodError
        If it is neither ``paper`` nor ``dpiat``.
    """
    for form in FORMS:
        if name == form:
            return form
    raise MethodError(f"expected {what} 'paper' or 'dpiat', got {name!r}")


def standardize(network: NetworkLike, *, method: str = "dpiat") -> Architecture:
    """Standardize a network into blocks and layers.

    Parameters
    ----------
    network : nn.Module, state dict, Checkpoint, path or Architecture
        A module (the meta device will do), a mapping from name to tensor or to shape, a weights file, or
        an architecture, which is returned as it is.
    method : {'dpiat', 'paper'}
        Which form to make. ``paper`` needs a module: placeholders of parameter-free modules are part of
        the published standardization and no checkpoint tells of them.

    Returns
    -------
    Architecture

    Raises
    ------
    MethodError
        If `method` is unknown, is ``paper`` for something that is no module, or differs from the form of
        a given architecture.
    CheckpointError
        If a path does not lead to a readable checkpoint.
    InputError
        If a network has no tensor, or lazy ones, whose shapes are not known yet.
    """
    form = check_form(method)
    if isinstance(network, Architecture):
        if network.form != form:
            raise MethodError(
                f"expected an architecture in {form!r} form, got one in {network.form!r} form; "
                f"standardize the network again with method={form!r}"
            )
        return network
    if form == "paper":
        module = as_module(network)
        if module is None:
            raise MethodError(
                "method 'paper' expected a network module, got tensor names and shapes only: the published "
                "standardization counts modules without tensors; use method 'dpiat', or give the module"
            )
        from transfer.structure.paper_form import from_module

        parameters = list(module.parameters())
        if not parameters or any(map(_is_lazy, parameters)):
            header_of(module)  # says what is wrong
        return from_module(module)
    return standardize_header(header_of(network), as_module(network))


def standardize_header(header: Header, module: nn.Module | None = None) -> Architecture:
    """Standardize tensor names and shapes into the ``dpiat`` form.

    Parameters
    ----------
    header : mapping of str to Signature
    module : nn.Module, optional
        Whose header it is, if there is one: it knows its attention heads, the groups of its convolutions and the
        epsilon of its norms.

    Returns
    -------
    Architecture
    """
    if module is None:
        return from_header(header)
    from transfer.tracing.usage import trace_usage

    usage = trace_usage(module)
    if usage is None:
        return _annotated(from_header(header), module)
    read_as = _functional(from_header(header), usage)
    linear = {name for name in usage.input_first if read_as.get(name, name).endswith("weight")}
    architecture = _annotated(from_header(header, linear, read_as), module, usage)
    return Architecture(architecture.form, as_executed(architecture.items, usage.order), is_executed=True)


def _functional(architecture: Architecture, usage: Usage) -> dict[str, str]:
    """Names under which bare parameters are the layers that functions use them as.

    Matrices that are only multiplied by may be anything; they are layers where most of a network is written so.
    """
    bare = {layer.tensors[0].name for layer in architecture.layers() if layer.kind.startswith("parameter")}
    called = {name: use for name, use in usage.called.items() if name in bare and use[0] in bare}
    factors = {weight for weight, _ in called.values()} & usage.input_first
    if len(factors) < sum(map(is_weighted, architecture.layers())):
        called = {name: use for name, use in called.items() if use[0] not in factors}
    names = {tensor.name for tensor in architecture.tensors()}
    read_as = {name: f"{weight}.{role}" for name, (weight, role) in called.items()}
    return {name: read for name, read in read_as.items() if read not in names}


def read_names(architecture: Architecture) -> dict[str, str]:
    """Names under which tensors were read that say something else, see `from_header`."""
    return {
        tensor.name: f"{layer.path}.{tensor.role}"
        for layer in architecture.layers()
        for tensor in layer.tensors
        if not layer.kind.startswith("parameter")
        and tensor.name not in (f"{layer.path}.{tensor.role}".lstrip("."), f"{layer.path}_{tensor.role}")
    }


def _heads_by_size(architecture: Architecture, sizes: Mapping[str, int]) -> dict[str, int]:
    """Count the heads of query, key, value and what follows, where an attention tells how wide a head is.

    Keys and values may have fewer heads than queries (grouped-query attention).
    """
    within: dict[str, list[Layer]] = {}
    for layer in architecture.layers():
        parent = layer.path.rpartition(".")[0]
        if layer.kind == "linear" and parent in sizes:
            within.setdefault(parent, []).append(layer)
    found = {}
    for parent, layers in within.items():
        for i, layer in enumerate(layers) if len(layers) == _SEPARATE else ():
            assert layer.dims is not None
            n_heads, left = divmod(layer.dims[0 if i < _SEPARATE - 1 else 1], sizes[parent])
            found[layer.path] = 0 if left else n_heads
    return found


def _annotated(architecture: Architecture, module: nn.Module, usage: Usage | None = None) -> Architecture:
    """Note what shapes do not tell: heads of attentions, groups, direction, epsilon, facts, outputs."""
    facts = usage.facts if usage else {}
    outputs, factors = (usage.outputs, usage.input_first) if usage else (frozenset[str](), frozenset[str]())
    wiring = _by_path(architecture, usage.wiring) if usage and usage.wiring else {}
    heads, head_sizes, groups, epsilons, transposed = {}, {}, {}, {}, dict[str, tuple[int, ...]]()
    for path, part in module.named_modules():
        n_heads = next((getattr(part, name, None) for name in _HEAD_COUNTS if _has(part, name)), None)
        if isinstance(n_heads, int) and n_heads > 0:
            heads[path] = n_heads
        elif isinstance(size := getattr(part, _HEAD_SIZE, None), int) and size > 0:
            head_sizes[path] = size
        if _has(part, "groups") and _has(part, "kernel_size") and isinstance(n_groups := part.groups, int):
            groups[path] = n_groups
            if getattr(part, "transposed", False) is True:
                transposed[path] = stride if isinstance(stride := getattr(part, "stride", ()), tuple) else ()
        epsilon = next((getattr(part, name, None) for name in _EPSILONS if _has(part, name)), None)
        if isinstance(epsilon, float):
            epsilons[path] = epsilon
    if not heads and not head_sizes and not groups and not epsilons and usage is None:
        return architecture
    by_size = _heads_by_size(architecture, head_sizes)

    def noted(layer: Layer) -> Layer:
        counted = heads.get(layer.path.rpartition(".")[0], 0) if layer.kind == "linear" else 0
        n_heads = counted or by_size.get(layer.path, 0)
        n_groups = groups.get(layer.path, 0)
        epsilon = epsilons.get(layer.path, 0.0) if layer.kind in ("batchnorm", "norm") else 0.0
        told = "; ".join(facts[tensor.name] for tensor in layer.tensors if tensor.name in facts)
        if layer.kind.startswith(("conv", "linear")) and layer.tensors[0].name in outputs:
            told = f"{told}; {OUTPUT}"
        is_factor = layer.kind.startswith("parameter") and layer.path in factors
        if not n_heads and not n_groups and not epsilon and usage is None:
            return layer
        return replace(
            layer,
            n_heads=n_heads,
            n_groups=n_groups,
            is_transposed=layer.path in transposed
            or (layer.kind.startswith("conv") and told.startswith("conv_transpose")),
            epsilon=epsilon,
            facts=told,
            stride=transposed.get(layer.path, ()),
            wiring=wiring.get(layer.path),
            is_factor=is_factor,
        )

    items = [
        Block(tuple(map(noted, item.layers))) if isinstance(item, Block) else noted(item)
        for item in architecture.items
    ]
    return Architecture(architecture.form, tuple(items))


def _by_path(architecture: Architecture, wiring: Mapping[str, Wiring]) -> dict[str, Wiring]:
    """Say of layers what is known of their tensors; of those that are not used that nothing is around them."""
    owner = {tensor.name: layer.path for layer in architecture.layers() for tensor in layer.tensors}
    used: dict[str, list[Wiring]] = {}
    for name, around in wiring.items():
        if name in owner:  # some make further layers when they are about to be evaluated
            used.setdefault(owner[name], []).append(around)
    n_layers = Counter(
        number for members in used.values() for number in {branch.number for w in members for branch in w.inside}
    )

    def joined(members: Sequence[Wiring]) -> Wiring:
        inside, ends = (
            tuple(
                branch._replace(n_layers=n_layers[branch.number])
                for branch in dict.fromkeys(branch for w in members for branch in getattr(w, what))
            )
            for what in ("inside", "ends")
        )
        feeds, beside = (
            next((owner.get(name, "") for w in members if (name := getattr(w, what))), "")
            for what in ("feeds", "beside")
        )
        return Wiring(feeds, beside, inside, ends)

    return {layer.path: joined(used.get(layer.path, ())) for layer in architecture.layers()}


def _has(part: nn.Module, name: str) -> bool:
    """Whether a module has a plain attribute; `hasattr` is slow on modules that lack it."""
    return name in part.__dict__ or hasattr(type(part), name)


def header_of(network: NetworkLike) -> dict[str, Signature]:
    """Tensor names and signatures of a module, a state dict or a checkpoint, in their order.

    Parameters
    ----------
    network : nn.Module, state dict, Checkpoint or path
        The values of a state dict may be tensors or shapes.

    Returns
    -------
    dict of str to Signature

    Raises
    ------
    InputError
        If `network` is none of these, or holds no tensor.
    """
    module = as_module(network)
    if module is not None:
        state = module.state_dict(keep_vars=True)
        header = {name: _signature(t) for name, t in _tensors(state)}
    elif isinstance(network, Mapping):
        odd = next((key for key in network if not isinstance(key, str)), None)
        if odd is not None:
            raise InputError(f"expected names of tensors in a state dict, got {odd!r}; it is part of one, perhaps")
        header = {name: _signature(value) for name, value in network.items()}
    elif isinstance(network, Architecture):
        header = {t.name: Signature(t.shape, t.dtype) for t in network.tensors()}
    else:
        from transfer.weights.checkpoint import Checkpoint, open_checkpoint

        if not isinstance(network, Checkpoint | str | os.PathLike):
            raise InputError(
                f"expected a module, a state dict, an architecture or a checkpoint, got {type(network).__name__}"
            )
        checkpoint = network if isinstance(network, Checkpoint) else open_checkpoint(network)
        header = dict(checkpoint.header)
    if not header:
        raise InputError("expected a network with parameters, got one without any tensor")
    return header


def _tensors(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Tensors of a module's state dict; extra state of other types is passed over."""
    from torch import Tensor

    for name, value in state.items():
        if _is_lazy(value):
            raise InputError(
                f"expected a network whose shapes are known, {name!r} is lazy; run it once on an example input"
            )
        if isinstance(value, Tensor):
            yield name, value


def _signature(value: Any) -> Signature:
    if not hasattr(value, "shape") and not isinstance(value, tuple | list):
        raise InputError(f"expected tensors or shapes in a state dict, got {type(value).__name__}; leave it out")
    return Signature(tuple(getattr(value, "shape", value)), _dtype_name(getattr(value, "dtype", "")))


@lru_cache(maxsize=256)
def _dtype_name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _is_lazy(value: Any) -> bool:
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(value))


def as_module(network: object) -> nn.Module | None:
    """Return `network` if it is a torch module, without importing torch to find out that it is not."""
    import sys

    if "torch" not in sys.modules:
        return None
    from torch import nn

    return network if isinstance(network, nn.Module) else None
