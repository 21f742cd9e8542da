"""Files with something wrong in them, made of sound ones: bytes, JSON values, pickles, zip archives.

Everything depends on the random numbers that are given, so that a number tells a file.
"""

from __future__ import annotations

import copy
import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

__all__ = ["json_text", "mutated_bytes", "mutated_json", "mutated_pickle", "mutated_torch_zip", "with_length"]

_NUMBERS = (0, 1, -1, 2, 7, 64, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63)

_DEEP, _BIG, _TWICE = "@deep@", "@big@", "@twice@"

_ODD_VALUES = (
    *_NUMBERS, None, True, False, 0.5, -1.5, 1e308, float("nan"), float("inf"), "", "a", "\ud800", "\0", "a.b" * 90,
    "../x", "F32", "dpiat", [], {}, [[]], {"a": 1}, [0, 0], [2**62, 4], [-1, 4], _DEEP, _BIG, 10**30,
)  # fmt: skip


def mutated_bytes(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage a few places of a file."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(found) + 1)
        length = rng.choice((1, 2, 4, 8, 100))
        match rng.randrange(9):
            case 0:
                found[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                if found:
                    found[at % len(found)] ^= 1 << rng.randrange(8)
            case 2:
                del found[at:]
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = rng.randbytes(length)
            case 5:
                start = rng.randrange(len(found) + 1)
                found[at:at] = found[start : start + length]
            case 6:
                number = rng.choice(_NUMBERS) & (2**64 - 1)
                size = rng.choice((2, 4, 8))
                found[at : at + size] = (number & (256**size - 1)).to_bytes(size, rng.choice(("little", "big")))
            case 7:
                found[at : at + length] = bytes([rng.choice((0, 255, 10, 46))]) * length
            case 8:
                other = rng.choice(others) if others else data
                start = rng.randrange(len(other) + 1)
                found[at:] = other[start:]
    return bytes(found)


def mutated_json(rng: random.Random, value: Any) -> Any:
    """Change some values somewhere in a tree, put some elsewhere, leave some out."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return copy.deepcopy(rng.choice(_ODD_VALUES))
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
            case 3:
                del holder[key]
            case 4:
                other, there = rng.choice(places)
                holder[key] = copy.deepcopy(other[there])
            case 5 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 6 if isinstance(holder, list):
                holder.extend(copy.deepcopy([holder[key]]) * rng.choice((1, 10, 70)))
            case 5 | 6 if isinstance(holder, dict):
                known = rng.choice(list(holder))
                holder[rng.choice((_TWICE, "", "\ud800")) + str(known)] = copy.deepcopy(holder[key])
            case 7 if type(holder[key]) is int:
                holder[key] += rng.choice((-1, 1))
            case 7:
                holder[key] = [holder[key]]
    return value


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def json_text(value: Any) -> bytes:
    """Write JSON, with what Python's writer would not write: deep nesting, long numbers, a key twice."""
    text = json.dumps(value)
    text = text.replace(f'"{_DEEP}"', "[" * 10_000 + "]" * 10_000).replace(f'"{_BIG}"', "9" * 5_000)
    return text.replace(_TWICE, "").encode()


def with_length(header: bytes, data: bytes) -> bytes:
    """Put a safetensors file together, whose length of the header is right."""
    return struct.pack("<Q", len(header)) + header + data


# pickles ------------------------------------------------------------------------------------------------------

_CHUNKS = [
    b"R",
    b"b",
    b"\x81",
    b"Q",
    b"(",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"}",
    b"]",
    b")",
    b"s",
    b"u",
    b"a",
    b"e",
    b"N",
    b"\x88",
    b"\x89",
    b"\x8f",
    b"\x93",
    b"0",
    b"1",
    b"2",
    b".",
    b"h\0",
    b"h\1",
    b"q\0",
    b"K\0",
    b"\x8a\x08" + b"\x7f" * 8,
    b"\x8a\xff" + b"\x7f" * 255,
    b"G" + b"\x7f\xf8" + bytes(6),
    b"U\x07storage",
    b"\x80\x04",
    b"\x94",
    b"j\xff\xff\xff\x7f",
]

_FUNCTIONS = (
    "os system",
    "posix system",
    "builtins eval",
    "builtins exec",
    "builtins getattr",
    "subprocess Popen",
    "torch load",
    "torch.hub load",
    "builtins open",
    "pathlib Path.touch",
    "collections OrderedDict",
    "collections Counter",
    "torch Tensor",
    "torch Size",
    "torch device",
    "torch float32",
    "torch quint8",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch.storage UntypedStorage",
    "torch.storage TypedStorage",
    "torch FloatTensor",
    "builtins bytearray",
    "builtins set",
    "builtins complex",
    "_codecs encode",
    "torch.nn.parameter Parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_nested_tensor",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch._utils _rebuild_wrapper_subclass",
    "torch._tensor _rebuild_from_type_v2",
    "torch.serialization _get_layout",
    "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._utils _rebuild_device_tensor_from_cpu_tensor",
)

_ATTRIBUTES = ("numel", "storage_offset", "shape", "data", "items", "get", "grad", "layout", "cpu", "dtype")


def mutated_pickle(rng: random.Random, data: bytes, others: Sequence[bytes], command: str) -> bytes:
    """Change some instructions of a pickle; `command` is what a harmful one would run."""
    chunks = _instructions(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(chunks))
        match rng.randrange(11):
            case 0:
                del chunks[at]
                chunks = chunks or [b"."]
            case 1:
                chunks.insert(at, rng.choice(chunks))
            case 2:
                other = rng.randrange(len(chunks))
                chunks[at], chunks[other] = chunks[other], chunks[at]
            case 3:
                chunks[at] = rng.choice(_CHUNKS)
            case 4:
                chunks.insert(at, rng.choice(_CHUNKS))
            case 5:
                taken = _instructions(rng.choice(others))
                start = rng.randrange(len(taken))
                chunks[at:at] = taken[start : start + rng.choice((1, 5, 30))]
            case 6:
                function = b"c" + rng.choice(_FUNCTIONS).replace(" ", "\n").encode() + b"\n"
                same = [i for i, chunk in enumerate(chunks) if chunk[:1] == b"c"]
                if same and rng.random() < 0.7:
                    chunks[rng.choice(same)] = function
                else:
                    chunks[at:at] = [function, *rng.choice(([], [_text(command), b"\x85", b"R"], [b")", b"R"]))]
            case 7 | 8:
                numbers = [i for i, chunk in enumerate(chunks) if chunk[:1] in (b"K", b"M", b"J", b"\x8a")]
                if numbers:
                    chunks[rng.choice(numbers)] = _number(rng.choice(_NUMBERS))
            case 9:
                texts = [i for i, chunk in enumerate(chunks) if chunk[:1] == b"X"]
                if texts:
                    chunks[rng.choice(texts)] = _text(
                        rng.choice((command, "", "0", "1", "cuda", "meta", "a" * 300, *_ATTRIBUTES))
                    )
            case 10:
                attribute = [
                    b"}",
                    _text(rng.choice(_ATTRIBUTES)),
                    rng.choice((b"K\1", b"N", b"h\1", b"h\3")),
                    b"s",
                    b"b",
                ]
                chunks[at:at] = attribute
    return b"".join(chunks)


def _number(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _instructions(data: bytes) -> list[bytes]:
    starts = [place for _, _, place in pickletools.genops(data) if place is not None]
    ends = [*starts[1:], starts[-1] + 1]
    return [data[a:b] for a, b in zip(starts, ends, strict=True)]


def mutated_torch_zip(rng: random.Random, data: bytes, others: Sequence[bytes], command: str) -> bytes:
    """Change what is in a torch file, in an archive that is sound: sizes and checksums are right."""
    members = _members(data)
    pickled = next(name for name in members if name.endswith("data.pkl"))
    if rng.random() < 0.8:
        pickles = [
            content for other in others for name, content in _members(other).items() if name.endswith("data.pkl")
        ]
        members[pickled] = mutated_pickle(rng, members[pickled], pickles, command)
    if rng.random() < 0.3:
        name = rng.choice([name for name in members if name != pickled] or [pickled])
        members[name] = rng.choice(
            (
                b"",
                b"big",
                members[name][:-1],
                members[name] * 3,
                members[name] + b"\0",
                members[name][: len(members[name]) // 2],
            )
        )
    if rng.random() < 0.1:
        name = rng.choice(list(members))
        members[rng.choice((name + "0", name.upper(), "x/data.pkl", "archive/data/77", "../x"))] = members[name]
        if rng.random() < 0.5:
            del members[name]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {member.filename: archive.read(member) for member in archive.infolist()}
