"""A catalogue of your own: the checkpoints that a team lists in a CSV file, `name,path,license,task`.

To use it, put it in a package of yours and name it in that package's pyproject.toml:

    [project.entry-points."zoo.catalogues"]
    team = "your_package.team_catalogue:CATALOGUE"
"""

import csv
import os
from pathlib import Path

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry
from zoo_index.catalogues.checkpoint import describe_checkpoint


def entries(request):
    """List what there is; `request` tells what the index knows already."""
    with open(os.environ["TEAM_MODELS"]) as file:
        for row in csv.DictReader(file):
            path = Path(row["path"])
            yield CatalogueEntry(
                name=f"team/{row['name']}",
                architecture=f"team/{row['name']}",
                license=row["license"] or None,
                task=row["task"] or None,
                path=str(path),
                revision=str(path.stat().st_mtime_ns),  # where it changes, the file is looked at again
            )


def describe(entry):
    """Read the structure of one entry; runs in a worker process."""
    return describe_checkpoint(entry.architecture, entry.path)


CATALOGUE = Catalogue("team", version=lambda: "1", entries=entries, describe=describe)
