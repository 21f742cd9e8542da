"""torch files, zip and legacy: opened with ``weights_only=True`` always and without a way around it.

Zip files are mapped: their tensors are views of the file, of which only the pages that are used are read. Legacy
files cannot be mapped and are read whole. Before any value is used it is checked that a file claims no more than
it holds.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import CheckpointError
from transfer.structure.records import Signature
from transfer.weights.files import open_regular
from transfer.weights.inspection import check_count, damaged, first_bytes
from transfer.weights.wrappers import EMA_KEYS, PLAIN_KEYS, averaged, choose_names, unwrap

if TYPE_CHECKING:
    import torch

__all__ = ["read_state", "signatures"]

_N_LEGACY = 5
"""Pickles in a legacy file: a magic number, a version, the system, what was saved, the names of the storages."""

_MAX_PICKLE = 100_000_000
"""Bytes of names and shapes; what safetensors allows a header."""


def read_state(path: Path, *, ema: bool | None = False) -> dict[str, torch.Tensor]:
    """Read the state dict of a torch file.

    Parameters
    ----------
    path : Path
        Of a file that is not empty.
    ema : bool or None
        Take the averaged weights; None takes names of both kinds where they lie side by side.

    Returns
    -------
    dict of str to Tensor
        In the order of registration; views of the mapped file where it is a zip file.

    Raises
    ------
    CheckpointError
        If the file is damaged, holds no state dict or no averaged one, or is not safe to read.
    """
    import torch

    content, members = _load(path)
    nested = averaged(content) if ema else None
    state = unwrap(content if nested is None else nested, torch.Tensor)
    if state is None:
        raise _no_state(content, path)
    check_count(len(state), path)
    _check_dense(state, path)
    # a file may give its tensors any attributes, also ones that hide their methods: views have none of them
    state = {name: torch.Tensor.detach(tensor) for name, tensor in state.items()}
    if nested is None:
        chosen = choose_names(state, path, ema=ema)
        state = {name: state[stored] for name, stored in chosen.items()}
    _check_claims(state, members, path)
    return state


def signatures(state: Mapping[str, torch.Tensor]) -> dict[str, Signature]:
    """Shapes and element types of a state dict."""
    return {
        name: Signature(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in state.items()
    }


def _load(path: Path) -> tuple[Any, list[int] | None]:
    """Return what the file holds, and the sizes of its members if it is a zip file."""
    import pickle

    import torch

    start = first_bytes(path)
    is_zip = start.startswith(b"PK")
    try:
        members = _check_zip(path) if is_zip else None
        _rehearse(path, start, is_zip=is_zip)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is refused below, with a message of its own
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip), members
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if not (is_zip or start.startswith(b"\x80")):  # no pickle at all: a text, a web page
            raise CheckpointError(
                f"expected a safetensors or torch weights file, '{path}' is neither, it starts with {start!r}; "
                "download it again, or check what it is"
            ) from error
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = named[1] if named else "other Python objects"
        raise CheckpointError(
            f"expected only tensors in '{path}', found {found}; reading such objects could run code, save the "
            "plain state dict again: torch.save(model.state_dict(), file)"
        ) from error
    except Exception as error:  # torch raises nearly anything on a damaged file: EOFError, IndexError, KeyError ...
        raise damaged(path, error) from error


def _rehearse(path: Path, start: bytes, *, is_zip: bool) -> None:
    """Look at every pickle that torch will follow, as torch finds it."""
    import pickle

    import torch

    from transfer.weights.rehearsal import rehearse

    if is_zip:
        rehearse(io.BytesIO(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")))
        return
    if not start.startswith(b"\x80"):
        raise pickle.UnpicklingError("no pickle")
    with open_regular(path) as file:
        for _ in range(_N_LEGACY):
            rehearse(file)


def _check_zip(path: Path) -> list[int]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile, too, raises nearly anything on a damaged file
        raise damaged(path, error) from error
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise CheckpointError(
            f"expected a state dict in '{path}', found a TorchScript program; "
            "save its tensors: torch.save(torch.jit.load(file).state_dict(), other_file)"
        )
    squeezed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if squeezed:
        raise CheckpointError(
            f"expected a torch file with stored members, '{path}' holds compressed ones ({squeezed[0]!r}), which "
            "can unpack to any size; torch.save never writes such files, save it again from a trusted place"
        )
    pickled = max((member.file_size for member in members if member.filename.endswith(".pkl")), default=0)
    if pickled > _MAX_PICKLE or sum(member.file_size for member in members) > path.stat().st_size:
        raise CheckpointError(
            f"expected at most {_MAX_PICKLE:,} bytes of names and shapes in '{path}' and members as large as the "
            "file together, found larger ones; do not trust this file"
        )
    return [member.file_size for member in members]


def _no_state(content: Any, path: Path) -> CheckpointError:
    found = type(content).__name__
    if isinstance(content, Mapping):
        keys = ", ".join([repr(key) for key in content if isinstance(key, str)][:5])
        found += f" with {keys or 'no entries'} and no tensors"
    return CheckpointError(
        f"expected a state dict (names and tensors) in '{path}', found {found}; save one with "
        f"torch.save(model.state_dict(), file), plain or under one of {', '.join((*PLAIN_KEYS, *EMA_KEYS))}"
    )


def _check_dense(state: Mapping[str, torch.Tensor], path: Path) -> None:
    import torch

    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
            raise CheckpointError(
                f"expected dense tensors with values in '{path}', got sparse, nested, quantized or meta tensor "
                f"{name!r}; save it as a dense one"
            )


def _check_claims(state: Mapping[str, torch.Tensor], members: list[int] | None, path: Path) -> None:
    """Refuse what claims more values than the file can hold.

    Views may overlap and have any strides: they are read in place. But each stays within its storage, and none
    unfolds to more than the whole file, e.g. by strides of zero. A storage of a zip file is a member of it, which
    torch does not check of mapped files: its end could lie anywhere.
    """
    size = path.stat().st_size
    storages: dict[int, int] = {}
    for name, tensor in state.items():
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        storages[start] = max(storages.get(start, 0), storage.nbytes())
        last = tensor.storage_offset() + sum(
            (n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        is_outside = tensor.numel() > 0 and (last + 1) * tensor.element_size() > storage.nbytes()
        if is_outside or tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(
                f"expected stored values for every element in '{path}', tensor {name!r} of shape "
                f"{tuple(tensor.shape)} claims more than the file holds; do not trust this file"
            )
    if sum(storages.values()) > size or (members is not None and not _are_members(storages.values(), members)):
        raise CheckpointError(
            f"expected in '{path}' ({size:,} bytes) a member for the values of every tensor, the tensors claim "
            f"{sum(storages.values()):,} bytes in other portions; do not trust this file"
        )


def _are_members(storages: Collection[int], members: Collection[int]) -> bool:
    """Whether each size is that of a member, but for bytes at its end that make no whole element."""
    sizes = set(members)
    return all(n in sizes or not n or any(n <= size < n + 16 for size in sizes) for n in storages)
