"""Weights files: read their header, then single tensors; write one without harming what stood there.

Formats: safetensors, and torch files (zip and legacy). torch files are opened with ``weights_only=True``
always and without a way around it; a file that needs more is refused. Names and shapes are read first;
tensor data only when asked for.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import CheckpointError, OutputError
from transfer.structure.records import Signature
from transfer.weights.files import replacing

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


_MAX_DEPTH = 200
"""No network nests deeper; what walks the names recursively relies on it."""


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
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would wait for ever
            raise CheckpointError(
                f"expected a weights file, '{path}' is a pipe or a device; save it to a file first"
            )
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"expected a weights file, found nothing at '{path}'; check the path") from None
    except IsADirectoryError:
        raise CheckpointError(f"expected a weights file, '{path}' is a folder; name the file in it") from None
    except OSError as error:
        raise CheckpointError(
            f"expected a readable weights file at '{path}', got: {error.strerror or error}; "
            "check the path and its permissions"
        ) from error
    if not start:
        raise CheckpointError(f"expected a weights file, got an empty file '{path}'; download it again")
    is_safetensors = path.suffix == ".safetensors" or start[8:] == b"{"
    checkpoint = _open_safetensors(path) if is_safetensors else _open_torch(path, start)
    deepest = max(name.count(".") for name in checkpoint.header)
    if deepest > _MAX_DEPTH:
        raise CheckpointError(
            f"expected tensor names of at most {_MAX_DEPTH} nested modules in '{path}', got one of {deepest}; "
            "do not trust this file"
        )
    return checkpoint


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
    except (ValueError, RecursionError):
        return None
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts block 9 before block 10; int() would refuse a number of 5000 digits."""
    parts = re.split(r"(\d+)", name)
    parts[1::2] = [number.lstrip("0") for number in parts[1::2]]
    return [*((len(part) * (i % 2), part) for i, part in enumerate(parts)), (0, name)]


def _open_torch(path: Path, start: bytes) -> Checkpoint:
    import pickle

    import torch

    is_zip = start.startswith(b"PK")
    try:
        if is_zip:
            _check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is refused below, with a message of its own
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
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
        raise _damaged(path, error) from error
    state = _state_dict(content)
    if state is None:
        found = type(content).__name__
        if isinstance(content, Mapping):
            keys = ", ".join([repr(key) for key in content if isinstance(key, str)][:5])
            found += f" with {keys or 'no entries'} and no tensors"
        raise CheckpointError(
            f"expected a state dict (names and tensors) in '{path}', found {found}; "
            f"save one with torch.save(model.state_dict(), file), plain or under one of {', '.join(_WRAPPERS)}"
        )
    header = {}
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
            raise CheckpointError(
                f"expected dense tensors with values in '{path}', got sparse, nested, quantized or meta tensor "
                f"{name!r}; save it as a dense one"
            )
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
            members = archive.infolist()
    except Exception as error:  # zipfile, too, raises nearly anything on a damaged file
        raise _damaged(path, error) from error
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
    detail = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
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
        If the file cannot be written, or the state dict holds what safetensors cannot.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    seen: set[int] = set()
    state = {}
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
            raise OutputError(
                f"expected dense tensors with values to write to '{path}', {name!r} is not one and safetensors "
                "cannot hold it; transfer in Python and save the module with torch.save"
            )
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        state[name] = value.clone() if storage in seen else value
        seen.add(storage)
    text = {"format": "pt", ORDER_KEY: json.dumps(list(state)), **metadata}
    try:
        with replacing(path) as temporary:
            save_file(state, temporary, metadata=text)
    except KeyError as error:
        raise OutputError(
            f"expected element types that safetensors can hold to write '{path}', got {error}; "
            "transfer in Python and save the module with torch.save"
        ) from error
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"expected to write '{path}', failed: {getattr(error, 'strerror', None) or error}; "
            "choose another file with --output"
        ) from error
