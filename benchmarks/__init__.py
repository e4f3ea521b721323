"""What lumigrad costs, measured: ``python -m benchmarks.primitives`` prints tables and writes a JSON file.

Nothing here is part of the installed package. Other libraries take part where they can be imported and are
skipped, with a line that says so, where they cannot.
"""
