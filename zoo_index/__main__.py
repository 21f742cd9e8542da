"""``python -m zoo_index`` is the ``zoo`` command."""

from zoo_index.cli import main

main()
