"""Load the compiled core out of an installed wheel and call it: no torch, nothing but the standard library.

Shows that the wheel serves the Python that runs this. Used by .ci/run.
"""

import ctypes
import importlib.util
import platform
import sys
from pathlib import Path


def main():
    spec = importlib.util.find_spec("lumigrad")  # finds the package without importing it, which needs torch
    if spec is None:
        sys.exit("lumigrad is not installed here")
    folder = Path(spec.submodule_search_locations[0]) / "_native"
    libraries = {path.stem.rpartition("_")[2]: path for path in sorted(folder.glob("*lumigrad_*"))}
    best = load(libraries["portable"]).lg_best_isa().decode()
    core = load(libraries.get(best, libraries["portable"]))
    check_topology(core)
    print(f"python {platform.python_version()}: core {core.lg_isa().decode()} of {', '.join(sorted(libraries))}")


def load(path):
    library = ctypes.CDLL(str(path))
    library.lg_isa.restype = library.lg_best_isa.restype = ctypes.c_char_p
    return library


def check_topology(core):
    """Two triangles that share an edge: each must be the other's neighbour."""
    triangles = (ctypes.c_int32 * 6)(0, 1, 2, 2, 1, 3)
    links = (ctypes.c_int32 * 6)()
    call = ctypes.create_string_buffer(32)  # lg_call, all zero
    status = core.lg_edge_topology(call, triangles, None, ctypes.c_int64(4), ctypes.c_int64(2), links)
    if status != 0 or links[0] >> 1 != 5 or links[5] >> 1 != 0:
        sys.exit(f"lg_edge_topology gave status {status} and links {list(links)}")


if __name__ == "__main__":
    main()
