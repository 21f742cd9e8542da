"""What the calls in a pickle make that an inert reader knows: tensors, arrays, plain containers.

The names are those under which torch (torch/_utils.py) and numpy (numpy/_core/multiarray.py) put together what is
unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transfer.weights.inert.arrays import Array, DType
from transfer.weights.inert.values import Global, StandIn, Unreadable, fill
from transfer.weights.stored import ITEM_SIZES, Storage, StoredTensor

__all__ = ["REBUILDERS", "storage_type"]

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "Untyped": "uint8",
    "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip

_QUANTIZED_SIZES = {"qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}


def storage_type(kind: object) -> tuple[str, int]:
    """Type and bytes of the elements of a storage.

    Parameters
    ----------
    kind : Global
        As ``torch.FloatStorage`` or ``torch.storage.UntypedStorage``.
    """
    if not isinstance(kind, Global):
        raise ValueError("a storage of no type")
    name = _STORAGES[kind.name.rpartition(".")[2].removesuffix("Storage")]
    return name, _QUANTIZED_SIZES.get(name) or ITEM_SIZES[name]


def _tensor(
    storage: object, offset: int, shape: object, stride: object, _grad: object = None, _hooks: object = None,
    metadata: object = None, *_: object,
) -> StoredTensor | Unreadable:  # fmt: skip
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    if storage.dtype in _QUANTIZED_SIZES:
        return Unreadable("quantized")
    return _view(storage, storage.dtype, offset, shape, stride, metadata)


def _typed_tensor(
    storage: object, offset: int, shape: object, stride: object, _grad: object, _hooks: object, kind: object,
    metadata: object = None, *_: object,
) -> StoredTensor | Unreadable:  # fmt: skip
    named = re.fullmatch(r"torch\.(\w{1,40})", kind.name, re.ASCII) if isinstance(kind, Global) else None
    if not isinstance(storage, Storage) or named is None:
        raise ValueError("a tensor without a storage or a type")
    if named[1] not in ITEM_SIZES:  # packed, as float4_e2m1fn_x2, or of a later torch
        return Unreadable(named[1])
    return _view(storage, named[1], offset, shape, stride, metadata)


def _view(
    storage: Storage, dtype: str, offset: int, shape: object, stride: object, metadata: object
) -> StoredTensor:
    """Make a tensor; its metadata says how torch would have turned the values when they are used."""
    bits = metadata if isinstance(metadata, dict) else {}
    is_conjugate, is_negative = (bits.get(name) is True for name in ("conj", "neg"))
    return StoredTensor(
        storage, dtype, _numbers(shape), _numbers(stride), offset,
        is_conjugate=is_conjugate, is_negative=is_negative,
    )  # fmt: skip


def _numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise ValueError("a tensor without a shape")
    return tuple(values)


def _first(value: object = None, *_: object) -> object:
    return value


def _from_type(rebuild: object, _kind: object, arguments: object, *_: object) -> object:
    name = rebuild.name if isinstance(rebuild, Global) else ""
    if name not in _OF_TENSORS or not isinstance(arguments, tuple):
        return StandIn(name, ())
    return _OF_TENSORS[name](*arguments)


def _unreadable(kind: str) -> Callable[..., Unreadable]:
    return lambda *_: Unreadable(kind)


def _nested_storage(data: object) -> object:
    """Read a storage that was pickled by itself: a torch file within the pickle."""
    from transfer.weights.formats.pickles import read_storage

    if not isinstance(data, bytes | memoryview):
        raise ValueError("a storage without bytes")
    return read_storage(data)


def _encoded(text: object, encoding: object = "utf-8", *_: object) -> object:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        return StandIn("_codecs.encode", ())
    return text.encode(str(encoding))


def _bytes(value: object = b"", encoding: object = None, *_: object) -> object:
    if isinstance(value, str):
        return _encoded(value, encoding)
    return value if isinstance(value, bytes | memoryview) else StandIn("builtins.bytearray", ())


def _mapping(*arguments: object) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for given in arguments:
        pairs = list(given.items()) if isinstance(given, Mapping) else given
        for pair in pairs if isinstance(pairs, Sequence) and not isinstance(pairs, str | bytes) else ():
            if isinstance(pair, Sequence) and len(pair) == 2:
                fill(made, pair)
    return made


def _listed(values: object = (), *_: object) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else []


def _reconstructed(kind: object = None, *_: object) -> StandIn:
    return StandIn(kind.name if isinstance(kind, Global) else "object", ())


_OF_TENSORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_xla_tensor": _first,
    "torch._utils._rebuild_qtensor": _unreadable("quantized"),
    "torch._utils._rebuild_sparse_tensor": _unreadable("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _unreadable("sparse"),
    "torch._utils._rebuild_nested_tensor": _unreadable("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("meta"),
    "torch._utils._rebuild_wrapper_subclass": _unreadable("wrapped"),
    "torch.nn.parameter.Parameter": _first,
}

REBUILDERS: dict[str, Callable[..., Any]] = {
    **_OF_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch.storage._load_from_bytes": _nested_storage,
    "torch.Size": _first,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.numeric._frombuffer": Array.of_bytes,
    "numpy._core.numeric._frombuffer": Array.of_bytes,
    "numpy.dtype": DType,
    "jax._src.array._reconstruct_array": Array.of_jax,
    "_codecs.encode": _encoded,
    "builtins.bytearray": _bytes,
    "__builtin__.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "__builtin__.bytes": _bytes,
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _mapping,
    "builtins.set": _listed,
    "__builtin__.set": _listed,
    "builtins.frozenset": _listed,
    "__builtin__.frozenset": _listed,
    "builtins.list": _listed,
    "copy_reg._reconstructor": _reconstructed,
    "copyreg._reconstructor": _reconstructed,
}
"""By the name of what is called."""
