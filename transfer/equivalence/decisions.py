"""Layers that compute the same with other tensors: what is done where source and target differ in their norms.

Two networks may compute the same and still not have the same tensors. A batch norm in evaluation is one factor and
one shift for each channel, so a network may do without it if the layer before it takes over both (as is done
before networks are deployed), and a bias before it may as well lie in its running mean. The alignment pairs layers
of one kind and shape; what stands beside them on one side only, or as another kind, it leaves alone. So after it
this module looks at each matched pair of layers, and at the norm that follows each of the two:

=========================  ==========================  ======================================================
behind the source's layer  behind the target's layer   what is done
=========================  ==========================  ======================================================
batch norm                 nothing                     its factor goes into the weight, its shift into the
                                                       bias; into the weight alone where there is no bias
nothing                    batch norm                  it starts by returning its input; a bias of the source
                                                       that the target's layer has no place for becomes its own
batch norm, after a bias   batch norm, after no bias   the bias is taken out of the running mean
norm                       norm of another kind        scale and bias are copied, so that what follows reads
                                                       features of the same spread; batch norms that take the
                                                       place of others keep their initial statistics
=========================  ==========================  ======================================================

Norms of another kind that stand before a layer are paired the same way. What the target's layer has and the
source's has not (a bias, the scale of a norm) is set to what changes nothing, wherever; `planning.equivalent_rows`
does that.

Order and widths tell which norm follows a layer (`neighbours`). Where the network was run it is known whether the
norm alone reads what the layer gives (`transfer.wiring`): a residual addition between the two shows in no header,
and forbids to put one into the other. Nothing is computed here. A plan says which tensors a value is made of
(`foldings`), and the values are combined as they are read: after channels were put in order and statistics
adapted, so that a narrower network without norms gets just what the narrower network with norms would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.equivalence.foldings import BatchNorm, Folding, LessBias, ScaledByNorm, ShiftedByNorm
from transfer.equivalence.neighbours import norms_after, norms_before
from transfer.growth.identity import EPSILON, passing
from transfer.regions import Constant
from transfer.structure.layers import dims_of
from transfer.structure.records import Block, Layer, Tensor

if TYPE_CHECKING:
    pass

__all__ = ["Equivalents", "find_equivalents"]


@dataclass
class Equivalents:
    """What is done beyond copying tensor by tensor.

    Parameters
    ----------
    alignment : Alignment
        With the pairs of norms that stand in corresponding places.
    identity : dict of str to tuple of Constant
        What target tensors are set to such that what was inserted returns its input.
    foldings : dict of str to Folding
        How other source tensors enter, by the name of the target tensor.
    moved : list of (LayerPair, Tensor, Tensor)
        A vector of the source, and one of the target that is filled from it though its role is another, or its
        layer; with the matched layers that they belong to.
    notes : dict of str to str
        What is to be said of target tensors, by their names.
    folded : set of str
        Paths of the target's layers that take over a norm.
    """

    alignment: Alignment
    identity: dict[str, tuple[Constant, ...]] = field(default_factory=dict)
    foldings: dict[str, Folding] = field(default_factory=dict)
    moved: list[tuple[LayerPair, Tensor, Tensor]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)


def find_equivalents(alignment: Alignment, identity: Mapping[str, tuple[Constant, ...]]) -> Equivalents:
    """Decide what becomes of norms and biases that only one of two networks has.

    Parameters
    ----------
    alignment : Alignment
        In ``dpiat`` form with tensor names.
    identity : mapping of str to tuple of Constant
        What is set already, by the names of the target's tensors.

    Returns
    -------
    Equivalents
    """
    after = norms_after(alignment.source), norms_after(alignment.target)
    made = Equivalents(_with_norms(alignment, after), dict(identity))
    for case in list(_cases(made.alignment, after)):
        pair, own, other = case.pair, case.own, case.other
        is_sure = own is None or _reads_alone(own, pair.source)
        may_take_bias = other is not None and _lacks_bias(pair) and _reads_alone(other, pair.target)
        if own is None and other is not None:
            _start_norm(made, pair, other, takes_bias=may_take_bias)
        elif own is not None and other is None and is_sure:
            _fold(made, pair, own)
        elif own is not None and other is not None and is_sure and may_take_bias:
            _take_out_bias(made, pair, own, other)
    return made


@dataclass(frozen=True, slots=True)
class _Case:
    """Matched layers and the norms behind them: one of which is missing, or both of which see another bias."""

    pair: LayerPair
    own: Layer | None
    other: Layer | None


def _cases(alignment: Alignment, after: tuple[Mapping[str, Layer], Mapping[str, Layer]]) -> Iterator[_Case]:
    """Yield the batch norms that need more than copies."""
    feeding = {pair.target.path: pair.source.path for pair in alignment.pairs}
    read_in = {(pair.source.path, pair.target_item) for pair in alignment.pairs}
    read_at_all = set(feeding.values())
    next_to = {layer.path: other.path for layer, other in pairwise(alignment.target.layers())}
    for pair in alignment.pairs:
        own, other = after[0].get(pair.source.path), after[1].get(pair.target.path)
        if any(norm is not None and norm.kind != "batchnorm" for norm in (own, other)):
            continue
        if own is not None and other is not None:
            if _lacks_bias(pair) and feeding.get(other.path) == own.path:
                yield _Case(pair, own, other)
        elif own is not None:
            in_block = isinstance(alignment.target.items[pair.target_item], Block)
            is_read = (own.path, pair.target_item) in read_in if in_block else own.path in read_at_all
            is_behind = feeding.get(next_to.get(pair.target.path, "")) == own.path  # where a block ends between
            if not is_read and not is_behind:
                yield _Case(pair, own, None)
        elif other is not None and other.path not in feeding:
            yield _Case(pair, None, other)


def _with_norms(alignment: Alignment, after: tuple[Mapping[str, Layer], Mapping[str, Layer]]) -> Alignment:
    """Pair the norms behind matched layers, and then those before, that the alignment has left alone."""
    before = norms_before(alignment.source), norms_before(alignment.target)
    found = {pair.target.path: pair for pair in alignment.pairs}
    for theirs, ours in (after, before):
        for pair in alignment.pairs:
            own, other = theirs.get(pair.source.path), ours.get(pair.target.path)
            if own is not None and other is not None and other.path not in found:
                found[other.path] = replace(pair, source=own, target=other)
    if len(found) == len(alignment.pairs):
        return alignment
    ordered = tuple(found[layer.path] for layer in alignment.target.layers() if layer.path in found)
    return replace(alignment, pairs=ordered)


def _reads_alone(norm: Layer, layer: Layer) -> bool:
    """Whether a norm, and nothing else, reads what the layer before it gives; taken for so where nobody knows."""
    return layer.wiring is None or layer.wiring.feeds == norm.path


def _fold(made: Equivalents, pair: LayerPair, norm: Layer) -> None:
    """Put a batch norm of the source into the target's layer, which has none behind it."""
    own, other = pair.source, pair.target
    n_groups = max(own.n_groups or other.n_groups, 1)
    is_transposed = own.is_transposed or other.is_transposed
    if dims_of(norm)[0] != (dims_of(own)[1] * n_groups if is_transposed else dims_of(own)[0]):
        return
    given = {tensor.role: tensor for tensor in norm.tensors}
    if not {"running_mean", "running_var"} <= given.keys():
        return
    names = {role: tensor.name for role, tensor in given.items()}
    values = BatchNorm(
        names.get("weight", ""),
        names.get("bias", ""),
        names["running_mean"],
        names["running_var"],
        dims_of(norm)[0],
        norm.epsilon or EPSILON,
    )
    weight, bias, theirs = _tensor(other, "weight"), _tensor(other, "bias"), _tensor(own, "bias")
    if weight is None:
        return
    made.folded.add(other.path)
    made.foldings[weight.name] = ScaledByNorm(values, n_groups, is_transposed)
    made.notes[weight.name] = f"with the scale of the batch norm {norm.path!r}"
    if bias is None:
        made.notes[weight.name] += ", whose shift is lost: the target has no bias"
        return
    made.foldings[bias.name] = ShiftedByNorm(values, theirs.name if theirs else "")
    made.notes[bias.name] = f"with the shift of the batch norm {norm.path!r}"
    if theirs is None:
        made.moved.append((pair, given.get("bias", given["running_mean"]), bias))


def _start_norm(made: Equivalents, pair: LayerPair, norm: Layer, *, takes_bias: bool) -> None:
    """Let a batch norm that only the target has return its input, or add the bias that its layer cannot."""
    weight, bias, theirs = _tensor(norm, "weight"), _tensor(norm, "bias"), _tensor(pair.source, "bias")
    given = made.identity.get(weight.name) if weight else None
    if given is not None and not given[-1].value:
        return  # it ends a residual branch that is to add nothing
    made.identity |= passing(norm)
    if takes_bias and bias is not None and theirs is not None:
        del made.identity[bias.name]
        made.moved.append((pair, theirs, bias))
        made.notes[bias.name] = "the bias of the layer before, which has none here"


def _take_out_bias(made: Equivalents, pair: LayerPair, own: Layer, norm: Layer) -> None:
    """Take a bias that the target's layer has no place for out of the running mean of the norm behind it."""
    bias, mean = _tensor(pair.source, "bias"), _tensor(norm, "running_mean")
    given = _tensor(own, "running_mean")
    if bias is not None and mean is not None and given is not None and given.shape == bias.shape:
        made.foldings[mean.name] = LessBias(bias.name)
        made.notes[mean.name] = f"less {bias.name!r}, which the target has not"


def _lacks_bias(pair: LayerPair) -> bool:
    return _tensor(pair.source, "bias") is not None and _tensor(pair.target, "bias") is None


def _tensor(layer: Layer, role: str) -> Tensor | None:
    return next((tensor for tensor in layer.tensors if tensor.role == role), None)
