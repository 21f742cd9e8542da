"""What people add to an index: files, folders, queries of a hub, structures, published results, packed weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_index.zoo.keeping import Keeper

if TYPE_CHECKING:
    from zoo_index.engines import Engine
    from zoo_index.index.metrics import MetricsReport
    from zoo_index.index.packing import Packed
    from zoo_index.index.unpacking import Unpacked
    from zoo_index.jobs.refresh import Progress, RefreshReport

__all__ = ["Adder"]


class Adder(Keeper):
    """Takes entries of people's own into an index, and weights onto this machine and off it."""

    def add(
        self,
        checkpoint: str | os.PathLike[str],
        name: str | None = None,
        *,
        license: str | None = None,
        family: str = "",
    ) -> dict[str, Any]:
        """Add a local checkpoint as a source and return its entry (see `addition.add_checkpoint`).

        With the entry go ``replaced``, what entries of this file were called before, and ``alike``, the names of
        other entries whose files hold the same.
        """
        from zoo_index.jobs.addition import add_checkpoint

        self._started()
        added = add_checkpoint(self.store, Path(checkpoint), name, license=license, family=family)
        return {**self.entry(added.name), "replaced": list(added.replaced), "alike": list(added.alike)}

    def add_folder(
        self,
        folder: str | os.PathLike[str],
        name: str,
        *,
        license: str | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> RefreshReport:
        """Add all checkpoints in a folder, now and at every refresh (see `collecting.add_folder`).

        Returns
        -------
        RefreshReport
            Of the entries in folders.
        """
        from zoo_index.jobs.collecting import add_folder

        self._started()
        return self._list_again(add_folder(self.store, Path(folder), name, license), engine, progress)

    def add_query(
        self,
        query: str,
        name: str = "hub",
        *,
        license: str | None = None,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> RefreshReport:
        """Add the repositories of a hub that answer a query, now and at every refresh (see `collecting.add_query`).

        Only the headers of their weights are read.

        Returns
        -------
        RefreshReport
            Of the entries of the hub.
        """
        from zoo_index.jobs.collecting import add_query

        self._started()
        return self._list_again(add_query(self.store, query, name, license), engine, progress)

    def add_structures(self, *, engine: Engine | None = None, progress: Progress | None = None) -> RefreshReport:
        """Add the networks of the transformers library, without weights, now and at every refresh.

        Returns
        -------
        RefreshReport
            Of these entries.
        """
        from zoo_index.jobs.collecting import add_structures

        self._started()
        return self._list_again(add_structures(self.store), engine, progress)

    def remove(self, name: str) -> None:
        """Take a local entry, or all entries of a folder or a query that was added, out of the index."""
        from zoo_index.jobs.addition import remove_entry
        from zoo_index.jobs.collecting import collection_of, drop

        catalogue = collection_of(self.store, name)
        if catalogue is None:
            remove_entry(self.store, name)
        else:
            drop(self.store, catalogue, name)
            self._list_again(catalogue)

    def _list_again(
        self, catalogue: str, engine: Engine | None = None, progress: Progress | None = None
    ) -> RefreshReport:
        from zoo_index.engines import open_engine
        from zoo_index.jobs.refresh import ITEM_SECONDS, refresh

        seconds = ITEM_SECONDS if engine is None else None
        with engine or open_engine() as workers:
            return refresh(self.store, engine=workers, catalogues=[catalogue], seconds=seconds, progress=progress)

    def import_metrics(self, path: str | os.PathLike[str], dataset: str | None = None) -> MetricsReport:
        """Take published results of entries into the index (see `metrics.import_metrics`)."""
        from zoo_index.index.metrics import import_metrics

        self.ensure()
        return import_metrics(self.store, Path(path), dataset)

    def fetch(self, name: str) -> Path:
        """Make sure that the weights of an entry are on this machine; return where (see `hub.fetching.fetch`)."""
        from zoo_index.hub.fetching import fetch

        return fetch(self.ensure().entries.find(name))

    def pack(self, names: Sequence[str], output: str | os.PathLike[str]) -> Packed:
        """Write the weights of entries, and the index, to one file for another machine (see `packing.pack`)."""
        from zoo_index.index.packing import pack

        view = self.ensure()
        return pack(self.store, [view.entries.find(name) for name in names], Path(output))

    def unpack(self, file: str | os.PathLike[str]) -> Unpacked:
        """Put what was packed where it is looked for (see `unpacking.unpack`).

        Weights that are of no hub are added to the index as a folder, ``packed``.
        """
        from zoo_index.index.pack_format import own_folder
        from zoo_index.index.unpacking import unpack

        unpacked = unpack(self.store, Path(file))
        if unpacked.has_own:
            self.add_folder(own_folder(), "packed")
        return unpacked
