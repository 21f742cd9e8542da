"""Nothing of a pickle is run, and none makes more of itself than weights need."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from weights_files import assert_same, held

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint

CALLS = {
    "GLOBAL": b"cculprit\nrun\n)R",
    "STACK_GLOBAL": b"\x8c\x07culprit\x8c\x03run\x93)R",
    "INST": b"(iculprit\nrun\n",
    "OBJ": b"(cculprit\nrun\no",
    "NEWOBJ": b"cculprit\nThing\n)\x81",
    "NEWOBJ_EX": b"cculprit\nThing\n)}\x92",
    "BUILD": b"cculprit\nThing\n)\x81}b",
    "getattr": b"cbuiltins\ngetattr\ncculprit\nThing\nX\x03\0\0\0run\x86R)R",
    "system": b"cos\nsystem\nX\x0c\0\0\0touch marker\x85R",
    "eval": b"cbuiltins\neval\nX\x1a\0\0\0open('marker','w').close()\x85R",
    "reduce": b"ctorch._tensor\n_rebuild_from_type_v2\n(cculprit\nrun\ncculprit\nThing\n)}tR",
    "extension": b"\x82\x01)R",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_of_a_pickle_is_imported_or_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: bytes
) -> None:
    culprit = (
        "open('marker', 'w').close()\ndef run(*_):\n    raise SystemError\nclass Thing:\n    __setstate__ = run\n"
    )
    (tmp_path / "culprit.py").write_text(culprit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    values = struct.pack("<3f", 1, 2, 3)
    array = (
        b"X\x01\0\0\0acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\1K\3\x85cnumpy\ndtype\n"
        b"X\x02\0\0\0f4\x89\x88\x87R(K\3X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x0c"
        + values
        + b"tb"
    )
    (tmp_path / "w.pkl").write_bytes(b"\x80\4}(" + array + b"X\x01\0\0\0z" + call + b"u.")
    assert held(tmp_path / "w.pkl")["a"].tolist() == [1, 2, 3]
    assert "culprit" not in sys.modules
    assert not Path("marker").exists()


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


N = 200_000

ENCODED = b"c_codecs\nencode\n"

STORAGE = b"ctorch.storage\n_load_from_bytes\n"

ENTRIES = b"(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(N // 10)) + b"d"

LEGACY = io.BytesIO()

torch.save(torch.zeros(N // 4).untyped_storage(), LEGACY, _use_new_zipfile_serialization=False)

BOMBS = {  # what is kept, as often as it is asked for
    "text": ENCODED + b"q\0" + text(b"a" * N) + b"q\1" + text(b"latin1") + b"q\2(" + b"h\0h\1h\2\x86R" * 1000,
    "names": text(b"a" * N) + b"q\1(" + b"h\1h\1\x93" * 1000,
    "list": b"cbuiltins\nlist\nq\0(" + b"N" * N + b"lq\1(" + b"h\0h\1\x85R" * 1000,
    "dict": b"ccollections\nOrderedDict\nq\0" + ENTRIES + b"q\1(" + b"h\0h\1\x85R" * 1000,
    "attributes": b"cm\nC\nq\0" + ENTRIES + b"q\1(" + b"h\0)\x81h\1b" * 1000,
    "array": b"cnumpy\ndtype\n" + text(b"u1") + b"\x85Rq\0" + text(b"a" * N) + b"q\1"
    b"cnumpy.core.multiarray\n_reconstruct\nq\2(" + b"h\2)R(K\1K\1\x85h\0Nh\1tb" * 1000,
    "storage": STORAGE + b"q\0B" + struct.pack("<I", len(LEGACY.getvalue())) + LEGACY.getvalue() + b"q\1("
    + b"h\0h\1\x85R" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_pickle_that_copies_without_end_is_refused(tmp_path: Path, bomb: bytes) -> None:
    (tmp_path / "w.pkl").write_bytes(b"\x80\4" + bomb + b"l.")
    tracemalloc.start()
    try:
        with pytest.raises(
            CheckpointError, match=r"found a pickle whose first [\d,]+ bytes make [\d,]+, more than weights need"
        ):
            open_checkpoint(tmp_path / "w.pkl")
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_storages_do_not_nest_in_one_another(tmp_path: Path) -> None:
    inner = b"\x80\2" + STORAGE + b"C\1a\x85R."
    (tmp_path / "w.pkl").write_bytes(b"\x80\4" + STORAGE + b"C" + bytes([len(inner)]) + inner + b"\x85R.")
    with pytest.raises(CheckpointError, match="something else than a storage"):
        open_checkpoint(tmp_path / "w.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [0, 200], ids=["ascii", "other"])
def test_large_values_in_any_protocol_are_not_taken_for_that(tmp_path: Path, protocol: int, value: int) -> None:
    values = np.full(3_000_000, value, np.uint8)
    content = {"a": values, "b": values.tobytes(), "c": torch.from_numpy(values)}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    expected = torch.from_numpy(values)
    assert_same(held(tmp_path / "w.pkl"), {"a": expected, "c": expected})
