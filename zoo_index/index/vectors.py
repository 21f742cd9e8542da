"""The faiss index: derived from the database, stamped, rebuilt whenever it does not fit.

faiss files carry no checksum, so a stamp lies beside: a digest of the file, and of which generation of which index
it is made. A file that is missing, altered or of another generation is replaced, and where the folder cannot be
written the index lives in memory. Of a large file only samples are looked at, so that opening it does not mean
reading it: it is mapped.

Up to `MOST_FLAT` vectors every one is compared with (some tens of milliseconds for a million, docs/performance.md);
beyond that they are put into lists, of which the nearest are searched (``IndexIVFFlat``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.weights.files import open_regular, replacing
from zoo_index.index.vector_file import check_layout

__all__ = ["MOST_FLAT", "Stamp", "VectorIndex", "build", "is_altered", "kind_of", "load", "save", "stamp_path"]

MOST_FLAT = 1_000_000
"""More vectors than this are searched list by list."""

_LISTS_PER_ROOT = 4
"""Lists, as a multiple of the root of the number of vectors; faiss's own advice is 4 to 16."""

_PROBED = 1 / 32
"""Share of the lists that is searched."""

_PER_LIST = 40
"""Vectors that the lists are learned from, for each of them."""

_MOST_STAMP = 1000
"""Bytes of a stamp."""

_HASHED_WHOLE = 1 << 22
_N_SAMPLES, _SAMPLE = 64, 1 << 16


class VectorIndex:
    """Maximum inner product search over source-side vectors.

    Parameters
    ----------
    index : faiss.Index
        With database ids.
    """

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def kind(self) -> str:
        """Type and parameters, in faiss's words."""
        import faiss

        inner = faiss.downcast_index(self._index.index)
        return _kind(inner.nlist, inner.nprobe) if isinstance(inner, faiss.IndexIVFFlat) else _kind()

    def search(self, query: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Ids of the k largest inner products, best first; fewer if there are fewer.

        Parameters
        ----------
        query : ndarray of shape (d,), float32
        k : int
        """
        _, ids = self._index.search(np.ascontiguousarray(query[None], dtype=np.float32), k)
        found: NDArray[np.int64] = ids[0][ids[0] >= 0]
        return found


def build(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> VectorIndex:
    """Build an index in memory, of the type that suits its size.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
        Distinct.
    vectors : ndarray of shape (n, d), float32
    """
    import faiss

    assert len(np.unique(ids)) == len(ids) == len(vectors)
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    flat = faiss.IndexFlatIP(rows.shape[1])
    inner: Any = flat
    if len(rows) > MOST_FLAT:
        n_lists, n_probed = _lists(len(rows))
        inner = faiss.IndexIVFFlat(flat, rows.shape[1], n_lists, faiss.METRIC_INNER_PRODUCT)
        n_learned = min(len(rows), _PER_LIST * n_lists)
        inner.train(rows[np.sort(np.random.default_rng(0).choice(len(rows), n_learned, replace=False))])
        inner.nprobe = n_probed
    index = faiss.IndexIDMap2(inner)
    index.add_with_ids(rows, ids)
    return VectorIndex(index)


def kind_of(n: int) -> str:
    """Return type and parameters that an index of `n` vectors gets."""
    return _kind(*_lists(n)) if n > MOST_FLAT else _kind()


def _lists(n: int) -> tuple[int, int]:
    """Return the number of lists, and of those that are searched."""
    n_lists = int(_LISTS_PER_ROOT * math.sqrt(n))
    return n_lists, max(1, round(_PROBED * n_lists))


def _kind(n_lists: int = 0, n_probed: int = 0) -> str:
    return f"IVF{n_lists},Flat nprobe={n_probed}" if n_lists else "Flat"


@dataclass(frozen=True)
class Stamp:
    """What a vector file is made of.

    Parameters
    ----------
    identity : str
        Of the index.
    generation : int
    """

    identity: str
    generation: int


def save(index: VectorIndex, path: Path, stamp: Stamp) -> bool:
    """Write the file and its stamp by rename; return whether they could be written."""
    import faiss

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            faiss.write_index(index._index, str(temporary))
            found = _digest(temporary)
        with replacing(stamp_path(path)) as temporary:
            temporary.write_text(json.dumps({**asdict(stamp), "digest": found}))
    except (OSError, RuntimeError):  # faiss raises its own for a full disk
        return False
    return True


def load(path: Path, stamp: Stamp, width: int | None = None) -> VectorIndex | None:
    """Map the file if it is unaltered and the one with this stamp; otherwise None.

    Parameters
    ----------
    path : Path
    stamp : Stamp
    width : int, optional
        Of the vectors that will be looked for; a file with others is none that fits.
    """
    try:
        with open_regular(stamp_path(path)) as file:
            found = json.loads(file.read(_MOST_STAMP))
        if found != {**asdict(stamp), "digest": _digest(path)}:
            return None
        found_width = check_layout(path)
        if width is not None and width != found_width:
            return None
    except (OSError, ValueError, RecursionError):
        return None
    import faiss

    try:
        return VectorIndex(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
    except (RuntimeError, MemoryError):  # replaced, or cut off, since it was looked at
        return None


def is_altered(path: Path, stamp: Stamp) -> bool:
    """Whether the file claims to have this stamp, and is not what was written."""
    try:
        with open_regular(stamp_path(path)) as file:
            found = json.loads(file.read(_MOST_STAMP))
        return bool({**found, **asdict(stamp)} == found and found["digest"] != _digest(path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def stamp_path(path: Path) -> Path:
    """File that says what the vector file is made of."""
    return path.with_name(path.name + ".json")


def _digest(path: Path) -> str:
    """Sha256 of the size of a file and of its content, of a large one of samples: its ends are among them."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        found = hashlib.sha256(str(size).encode())
        if size <= _HASHED_WHOLE:
            found.update(file.read())
        for i in range(_N_SAMPLES if size > _HASHED_WHOLE else 0):
            file.seek((size - _SAMPLE) * i // (_N_SAMPLES - 1))
            found.update(file.read(_SAMPLE))
    return found.hexdigest()
