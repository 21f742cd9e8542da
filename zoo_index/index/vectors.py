"""The faiss index: derived from the database, stamped, rebuilt whenever it does not fit.

faiss files carry no checksum, so the database keeps the sha256 and the generation of the file that
belongs to it. A file that is missing, altered or of another generation is replaced, and where the folder
cannot be written the index lives in memory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.weights.files import replacing

__all__ = ["VectorIndex", "build", "load", "save"]


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
    """Build an index in memory.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
        Distinct.
    vectors : ndarray of shape (n, d), float32
    """
    import faiss

    assert len(set(ids.tolist())) == len(ids) == len(vectors)
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
    index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), ids)
    return VectorIndex(index)


def save(index: VectorIndex, path: Path) -> str:
    """Write the file by rename; return its sha256, empty if it cannot be written."""
    import faiss

    data = faiss.serialize_index(index._index).tobytes()
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError:
        return ""
    return hashlib.sha256(data).hexdigest()


def load(path: Path, sha256: str) -> VectorIndex | None:
    """Read the file if it is the one with this sha256; otherwise None."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    import faiss

    return VectorIndex(faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8)))
