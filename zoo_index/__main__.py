"""``python -m zoo_index`` is the ``zoo`` command."""

from zoo_index.commands.main import main

main()
