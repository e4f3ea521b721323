"""Random calls of every op, each compared with its definition: `python -m tests.fuzz`.

A case is a function of the op's name and a number alone. `draw.py` makes numbers, shapes and layouts of it, one module
a family makes calls of these, `wrong.py` spoils some, `check.py` holds each to what must be true of any call, and
`isolate.py` runs them in a process of their own, so that a crash is a fault like any other.
"""
