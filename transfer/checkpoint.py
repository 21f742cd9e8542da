"""Weights files: read their header, then single tensors; write one without harming what stood there.

Formats: safetensors, and torch files (zip and legacy). torch files are opened with ``weights_only=True``
always and without a way around it; a file that needs more is refused. Names and shapes are read first;
tensor data only when asked for.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import CheckpointError, OutputError
from transfer.files import replacing
from transfer.records import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ORDER_KEY", "Checkpoint", "open_checkpoint", "save_module"]

ORDER_KEY = "zoo.order"
"""Metadata entry with the tensor names in order of registration; safetensors files are sorted otherwise."""

_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "params",
    "state_dict_ema",
    "model_ema",
)
"""Keys under which training scripts nest the state dict."""

_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A weights file whose header has been read.

    Parameters
    ----------
    path : Path
    header : mapping of str to Signature
        In the order of registration where the file tells it.
    """

    path: Path
    header: Mapping[str, Signature]
    _state: Mapping[str, Any] | None = field(default=None, repr=False)

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], torch.Tensor]]:
        """Open the file for reading tensors by name."""
        if self._state is not None:
            yield self._state.__getitem__
            return
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                yield file.get_tensor
        except (SafetensorError, OSError) as error:
            raise _damaged(self.path, error) from error


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the header of a weights file.

    Parameters
    ----------
    path : path
        A safetensors file or a torch file with a state dict, also nested as ``{"state_dict": ...}``.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, holds no state dict, or is not safe to read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"expected a weights file, found nothing at '{path}'; check the path") from None
    except OSError as error:
        raise CheckpointError(
            f"expected a readable weights file at '{path}', got: {error.strerror or error}"
        ) from error
    if not start:
        raise CheckpointError(f"expected a weights file, got an empty file '{path}'; download it again")
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _open_safetensors(path)
    return _open_torch(path, is_zip=start.startswith(b"PK"))


def _open_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            order = _stored_order(file.metadata())
            names = set(file.keys())
            if order is None or set(order) != names:
                order = sorted(names, key=_natural)
            header = {}
            for name in order:
                part = file.get_slice(name)
                dtype = part.get_dtype()
                header[name] = Signature(tuple(part.get_shape()), _SAFETENSORS_DTYPES.get(dtype, dtype.lower()))
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    if not header:
        raise CheckpointError(f"expected tensors in '{path}', found none")
    return Checkpoint(path, header)


def _stored_order(metadata: Mapping[str, str] | None) -> list[str] | None:
    try:
        order = json.loads((metadata or {}).get(ORDER_KEY, "null"))
    except ValueError:
        return None
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else None


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts block 9 before block 10."""
    return [(not part.isdigit(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _open_torch(path: Path, *, is_zip: bool) -> Checkpoint:
    import pickle

    import torch

    try:
        if is_zip:
            _check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise CheckpointError(
                f"expected only tensors in '{path}', found other Python objects, which could run code when read; "
                "save the plain state dict again: torch.save(model.state_dict(), file)"
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # torch raises nearly anything on a damaged file: EOFError, IndexError, KeyError ...
        raise _damaged(path, error) from error
    state = _state_dict(content)
    if state is None:
        raise CheckpointError(
            f"expected a state dict (names and tensors) in '{path}', found {type(content).__name__}; "
            f"save one with torch.save(model.state_dict(), file), plain or under one of {', '.join(_WRAPPERS)}"
        )
    header = {}
    for name, tensor in state.items():
        if tensor.layout is not torch.strided:
            raise CheckpointError(f"expected dense tensors in '{path}', got sparse tensor {name!r}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"expected stored values for every element in '{path}', tensor {name!r} of shape "
                f"{tuple(tensor.shape)} claims more than the file holds; do not trust this file"
            )
        header[name] = Signature(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
    return Checkpoint(path, header, state)


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            squeezed = [i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if squeezed:
        raise CheckpointError(
            f"expected a torch file with stored members, '{path}' holds compressed ones ({squeezed[0]!r}), which "
            "can unpack to any size; torch.save never writes such files, save it again from a trusted place"
        )


def _state_dict(content: Any) -> dict[str, torch.Tensor] | None:
    import torch

    for _ in range(3):
        if not isinstance(content, Mapping):
            return None
        tensors = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
        nested = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if nested is None or len(tensors) > 1:
            return tensors or None
        content = nested
    return None


def _damaged(path: Path, error: Exception) -> CheckpointError:
    lines = str(error).strip().splitlines()
    detail = lines[0][:200] if lines else type(error).__name__
    return CheckpointError(
        f"expected a safetensors or torch weights file, '{path}' is damaged or something else ({detail}); "
        "download it again, or check what it is"
    )


def save_module(module: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str]) -> None:
    """Save a module's state dict as safetensors; an existing file is replaced whole or not at all.

    Tied tensors are written once per name, so ``load_state_dict`` finds every key.

    Parameters
    ----------
    module : nn.Module
    path : path
    metadata : mapping of str to str

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    seen: set[int] = set()
    state = {}
    for name, tensor in module.state_dict().items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        state[name] = value.clone() if storage in seen else value
        seen.add(storage)
    text = {"format": "pt", ORDER_KEY: json.dumps(list(state)), **metadata}
    try:
        with replacing(path) as temporary:
            save_file(state, temporary, metadata=text)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"expected to write '{path}', failed: {getattr(error, 'strerror', None) or error}; "
            "choose another file with --output"
        ) from error
