"""Standardization: from a network or a checkpoint header to an `Architecture`.

One door for both forms; the rules live in `paper_form` (module tree, as published) and `dpiat_form`
(dotted tensor names, so that a bare checkpoint will do).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer.errors import MethodError
from transfer.structure.annotation import annotated
from transfer.structure.dpiat_form import from_header
from transfer.structure.execution_order import as_executed
from transfer.structure.headers import as_module, header_of, is_lazy
from transfer.structure.layers import is_weighted
from transfer.structure.records import Architecture, Form, Header

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.headers import NetworkLike
    from transfer.tracing.usage import Usage

__all__ = ["FORMS", "check_form", "read_names", "standardize", "standardize_header"]

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
        if not parameters or any(map(is_lazy, parameters)):
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
        return annotated(from_header(header), module)
    read_as = _functional(from_header(header), usage)
    linear = {name for name in usage.input_first if read_as.get(name, name).endswith("weight")}
    architecture = annotated(from_header(header, linear, read_as), module, usage)
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
