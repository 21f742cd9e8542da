"""What `dpiat` does with every tensor of the target that an alignment feeds or inserts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.leftovers import complete
from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.choice import choose_channels
from transfer.channels.coupling import coupled_groups
from transfer.channels.fusion import Parts, fill_parts, pair_parts, taken_by
from transfer.channels.rescaling import rescale_factor
from transfer.equivalence.decisions import Equivalents, find_equivalents
from transfer.growth.feeding import shared_exits
from transfer.growth.gates import open_gates
from transfer.growth.insertions import place_insertions
from transfer.growth.widening import Append, Widening, stream_widenings
from transfer.operators import LEADING, Channels, channel_fill, refusal, whole
from transfer.options import Options
from transfer.planning.equivalent_rows import neutral, with_equivalents
from transfer.planning.heads import quiet_heads
from transfer.planning.planned import PlannedTensor, filled, fresh
from transfer.planning.storage import as_stored
from transfer.rearrangement import rearrangement
from transfer.regions import Constant
from transfer.resampling.dimensions import changes_dimensions_only
from transfer.resampling.inputs import kept_channels
from transfer.resampling.recognition import Resampling, resampling
from transfer.structure.layers import in_width, is_lookup, is_weighted, out_width
from transfer.structure.meaning import head_paths
from transfer.structure.records import Architecture, Block, Layer, Tensor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["dpiat_rows"]


def dpiat_rows(
    alignment: Alignment, options: Options, module: nn.Module | None, among: Collection[str] | None = None
) -> tuple[Alignment, dict[str, PlannedTensor]]:
    """Plan every tensor that is fed from the source or set to start as identity.

    Parameters
    ----------
    alignment : Alignment
        The best-scoring one, at the scale that suits the networks.
    options : Options
    module : nn.Module or None
        The target, where there is one.
    among : collection of str, optional
        Paths of the layers that are wanted, where others are none of this source's business.

    Returns
    -------
    alignment : Alignment
        The one that was carried out: with insertions placed.
    rows : dict of str to PlannedTensor
        By name.
    """
    if alignment.source.is_like(alignment.target) and len(alignment.pairs) == alignment.target.n_scoring:
        return alignment, as_stored(_twin_rows(alignment, options), alignment)
    identity: dict[str, tuple[Constant, ...]] = {}
    factors: dict[str, float] = {}
    if options.identity_blocks:
        alignment, identity = place_insertions(alignment, module, among)
    else:
        factors = shared_exits(alignment)
    open_at: dict[str, tuple[Constant, ...]] = {}
    made_up: dict[str, float] = {}
    if options.gates:
        alignment, open_at, made_up = open_gates(alignment, module)
    used = alignment
    parts: tuple[Parts, ...] = ()
    if options.split_fused:
        alignment, parts = pair_parts(alignment)
    alignment = complete(alignment, taken_by(parts))
    made = Equivalents(alignment, identity)
    if options.fold:
        made = find_equivalents(alignment, identity)
        alignment = made.alignment
    heads = head_paths(alignment.target), head_paths(alignment.source)
    items = enumerate(alignment.target.items)
    inserted = {i for i, item in items if any(t.name in identity for layer in item.layers for t in layer.tensors)}
    channels = choose_channels(alignment, options, module, inserted)
    widenings = stream_widenings(alignment) if options.keep_norms else {}
    every_layer = list(alignment.target.layers())
    position = {layer.path: i for i, layer in enumerate(every_layer)}
    rows: dict[str, PlannedTensor] = {}
    for pair in alignment.pairs:
        reason = _head_reason(pair, alignment, heads, options)
        choice = channels.get(pair.target.path, LEADING)
        if not reason and choice is LEADING and _are_equal(pair.source, pair.target):
            for own, tensor in zip(pair.source.tensors, pair.target.tensors, strict=True):
                row = _scaled(filled(own, tensor, whole(tensor.shape)), factors.get(tensor.name, 1.0))
                rows[tensor.name] = _beside_gate(row, made_up[tensor.name]) if tensor.name in made_up else row
            continue
        by_role = {t.role: t for t in pair.source.tensors}
        for tensor in pair.target.tensors:
            source = by_role.get(tensor.role)
            is_factor = pair.target.is_factor or (pair.source.is_factor and tensor.role == "weight")
            if source is None and (is_factor or len(pair.source.tensors) == len(pair.target.tensors) == 1):
                source = pair.source.tensors[0]  # called otherwise
            row = fresh(tensor, reason) if reason else _row(alignment, pair, source, tensor, choice, options)
            if source is None and not reason and options.fold:
                row = neutral(pair, tensor)
            if source is not None and tensor.name in widenings:
                row = _widened(row, source, tensor, pair, choice, options, widenings[tensor.name])
            # an embedding has outputs where other layers have inputs; it stands outside the blocks, without bias
            is_layer = isinstance(alignment.target.items[pair.target_item], Block) or "bias" in by_role
            is_layer &= pair.target.path not in made.folded  # the norm's statistics tell its spread
            if options.rescale and is_layer and tensor.role == "weight" and _loses_inputs(row):
                factor = rescale_factor(every_layer, position[pair.target.path], pair.source, pair.target)
                row = _scaled(row, factor)
            row = _scaled(row, factors.get(tensor.name, 1.0))
            rows[tensor.name] = _beside_gate(row, made_up[tensor.name]) if tensor.name in made_up else row

    def row_of(pair: LayerPair, source: Tensor, tensor: Tensor) -> PlannedTensor:
        row = _row(alignment, pair, source, tensor, channels.get(pair.target.path, LEADING), options)
        return _scaled(row, factors.get(tensor.name, 1.0))

    rows = with_equivalents(rows, made, row_of)
    if options.channels == "importance":
        reordered = {port.tensor for group in coupled_groups(alignment.source) for port in group.ports}
        for name, row in rows.items():
            if row.source in reordered and (row.status, row.operator) == ("cropped", "leading"):
                rows[name] = replace(row, operator="by importance")
    fused = fill_parts(parts, zero_new_inputs=options.zero_new_inputs)
    for tensor in alignment.target.tensors():
        if tensor.name in fused:
            source, fill = fused[tensor.name]
            rows[tensor.name] = filled(source, tensor, fill)
        set_to = made.identity.get(tensor.name) or open_at.get(tensor.name)
        if set_to:
            rows[tensor.name] = PlannedTensor(
                tensor.name,
                tensor.shape,
                "identity",
                operator="identity",
                constants=set_to,
                reason="it was inserted and starts by passing its input on",
            )
    rows |= quiet_heads(alignment, rows) if options.head and options.quiet_head else {}
    return used, as_stored(rows, alignment)


def _twin_rows(alignment: Alignment, options: Options) -> dict[str, PlannedTensor]:
    """Copy everything between equal architectures."""
    heads = head_paths(alignment.target) if not options.head else set()
    rows: dict[str, PlannedTensor] = {}
    for pair in alignment.pairs:
        for source, tensor in zip(pair.source.tensors, pair.target.tensors, strict=True):
            reason = "the classifier was to be left out" if pair.target.path in heads else refusal(source, tensor)
            fill = channel_fill(source, tensor, pair.target)
            rows[tensor.name] = fresh(tensor, reason) if reason else filled(source, tensor, fill)
    return rows


def _are_equal(source: Layer, target: Layer) -> bool:
    """Whether two layers have the same tensors, so that all of them are copied."""
    both = source.tensors, target.tensors
    return len(both[0]) == len(both[1]) and all(
        a.shape == b.shape and a.role == b.role and not refusal(a, b) for a, b in zip(*both, strict=True)
    )


def _row(
    alignment: Alignment, pair: LayerPair, source: Tensor | None, target: Tensor, choice: Channels, options: Options
) -> PlannedTensor:
    """Plan one tensor: on the grid of the target first, then cropped or grown in channels."""
    is_turned = pair.source.is_factor != pair.target.is_factor and is_weighted(
        pair.target if pair.source.is_factor else pair.source
    )
    is_same = source is not None and source.shape == target.shape and not is_turned
    if source is not None and is_same and choice == LEADING and not refusal(source, target):
        return filled(source, target, whole(target.shape))
    resampled = rearranged = None
    both = alignment.source, alignment.target
    kept = None
    if options.image_channels == "zero" and target.role == "weight":
        kept = kept_channels(pair.source, pair.target, both, choice)
    if choice.transform is not None and source is not None and target.role == "weight":
        resampled = Resampling(choice.transform, (source.shape[0], choice.n_inputs), choice.operator)
    elif options.resample and source is not None:
        layers = pair.source, pair.target
        resampled = resampling(source, target, *layers, *both, keeps_channels=kept is not None)
    if resampled is None and source is not None and source.is_continuous and target.is_continuous:
        are_kernels = pair.source.kind.startswith("conv") and pair.target.kind.startswith("conv")
        rearranged = None
        if not are_kernels:
            rearranged = rearrangement(source.shape, target.shape, is_transposed=is_turned)
    given = resampled.result(source) if resampled and source else source
    if rearranged is not None and source is not None:
        given = replace(source, shape=rearranged.shape)
    reason = refusal(given, target)
    if source is None or given is None or reason:
        return fresh(target, reason)
    zero_new_inputs = options.zero_new_inputs or kept is not None
    fill = channel_fill(given, target, pair.target, kept or choice, zero_new_inputs=zero_new_inputs)
    if rearranged is not None:
        row = filled(given, target, fill)
        operator = "rearrange" if row.operator == "copy" else row.operator
        return replace(row, operator=operator, source_shape=source.shape, transform=rearranged)
    if resampled is None:
        return filled(source, target, fill)
    row = filled(source, target, resampled.adjust(fill))
    return replace(row, status="resampled" if resampled.operator else row.status, transform=resampled.transform)


def _widened(
    row: PlannedTensor,
    source: Tensor,
    target: Tensor,
    pair: LayerPair,
    choice: Channels,
    options: Options,
    widening: Widening,
) -> PlannedTensor:
    """Plan a tensor that touches a residual stream that grows: keep the norms' mean and variance."""
    if row.status != "grown":
        return row
    if widening.axis < 0:
        return replace(
            row, operator="keep norm", regions=tuple(replace(r, scale=widening.scale) for r in row.regions)
        )
    n_new = target.shape[widening.axis] - source.shape[widening.axis]
    shape = list(source.shape)
    shape[widening.axis] += n_new
    fill = channel_fill(
        replace(source, shape=tuple(shape)), target, pair.target, choice, zero_new_inputs=options.zero_new_inputs
    )
    row = filled(source, target, replace(fill, operator="keep norm"))
    return replace(
        row,
        status="grown",
        transform=Append(widening.axis, n_new, widening.is_mean),
        reason=f"new channels start as {'the mean' if widening.is_mean else 'zero'}",
    )


def _loses_inputs(row: PlannedTensor) -> bool:
    """Whether fewer inputs may be the reason that a tensor is not copied whole; those of the image do not count."""
    is_cut = row.status in ("cropped", "grown") or changes_dimensions_only(row.transform)
    return is_cut and row.operator != "keep image channels"


def _scaled(row: PlannedTensor, factor: float) -> PlannedTensor:
    if factor == 1 or not row.regions:
        return row
    return replace(row, regions=tuple(replace(region, scale=region.scale * factor) for region in row.regions))


def _beside_gate(row: PlannedTensor, factor: float) -> PlannedTensor:
    """Divide by what a gate that was inserted multiplies by."""
    if not row.regions:
        return row
    note = f"times {factor:g} for the gate that was inserted"
    operator = "beside a gate" if row.operator == "copy" else row.operator
    reason = f"{row.reason}; {note}" if row.reason else note
    return replace(_scaled(row, factor), operator=operator, reason=reason)


def _narrows(layer: Layer) -> bool:
    """Whether a layer that writes what the network returns multiplies by a matrix and gives less than it reads."""
    return layer.is_output and is_weighted(layer) and out_width(layer) < in_width(layer)


def _tells_words(head: Layer, architecture: Architecture) -> bool:
    """Whether a head tells words of a vocabulary, for each of which there is a row in a table of the same shape."""
    tables = [layer for layer in architecture.layers() if layer.dims == head.dims and layer.path != head.path]
    return any(is_lookup(layer) or not layer.facts for layer in tables)


def _head_reason(pair: LayerPair, alignment: Alignment, heads: tuple[set[str], set[str]], options: Options) -> str:
    """Why a layer that tells classes is left fresh; empty for other layers, for words, and for as many classes."""
    source, target = pair.source, pair.target
    if not target.is_output and target.path not in heads[0]:
        tells = is_weighted(source) and (source.is_output or source.path in heads[1])
        is_other = sorted(source.dims or ()) != sorted(target.dims or ())
        if tells and is_other and not _tells_words(source, alignment.source):
            return "the matched source layer tells classes, and it does not"
        return ""
    is_inner = source.facts and not source.is_output and source.path not in heads[1]
    if _narrows(target) and is_inner and source.dims != target.dims:
        return "it writes what the network returns, and the matched source layer does not"
    # what was not run may be the output layer as well, if it tells as many
    is_unknown = not source.facts and _narrows(target) and is_weighted(source) and source.path not in heads[1]
    narrows = (_narrows(source) or is_unknown) and _narrows(target)
    if target.path not in heads[0] and not narrows:
        return ""
    if not options.head:
        return "the classifier was to be left out"
    if (source.path in heads[1] or narrows) and source.dims is not None and target.dims is not None:
        n_source, n_target = source.dims[0], target.dims[0]
        if n_source != n_target and not (
            _tells_words(source, alignment.source) and _tells_words(target, alignment.target)
        ):
            return f"the source tells {n_source} classes apart, the target {n_target}"
    return ""
