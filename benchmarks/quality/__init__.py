"""The laboratory for quality: which source helps, and which way of transfer helps most.

`python -m quality` trains the mini-zoo (``networks``) on Fashion-MNIST (``data``, ``training``), starts targets in
every way (``methods``), measures them (``jobs``), and writes tables and plots (``tables``, ``plots``).
"""
