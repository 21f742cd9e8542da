"""The index in a browser and for other machines: a map, pages, and a JSON interface over HTTP."""
