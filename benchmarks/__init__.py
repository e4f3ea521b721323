"""Measures what lumigrad costs: ``python -m benchmarks.primitives`` prints tables and writes a JSON file.

Nothing here is part of the installed package. Other libraries take part if they can be imported; otherwise a line says
that they were skipped.
"""
