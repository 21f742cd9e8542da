"""Running what a user's code does in a process of its own, with limits, and taking its answers apart from it.

Three processes: the command asks (`child`), a guardian of a few lines (`guardian`) waits beside it and takes
everything with it that the code started, and a worker runs the code and answers (`worker`, `duties`).
This protects from accidents, not from code that means harm.
"""
