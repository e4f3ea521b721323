"""Records the built-in head from several cameras, as test data for `lumigrad capture`.

python examples/capture_rig.py --out rig
lumigrad capture rig --quick --truth rig/truth --out capture-out
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lumigrad.fit.capture import RigOptions, write_rig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("rig"), help="folder of the recording (rig)")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of each image (256)")
    parser.add_argument("--frames", type=int, default=24, help="of each sequence (24)")
    parser.add_argument("--sequences", type=int, default=1, help="how many (1)")
    parser.add_argument("--cameras", type=int, default=9, help="on an arc (9)")
    parser.add_argument("--level", type=int, default=4, help="of the mesh: 10 * 4**level + 2 vertices (4)")
    parser.add_argument("--nod", type=float, default=0.0, help="degrees by which the head turns (0)")
    arguments = parser.parse_args()
    options = RigOptions(
        size=arguments.size,
        frames=arguments.frames,
        sequences=arguments.sequences,
        cameras=arguments.cameras,
        level=arguments.level,
        nod=arguments.nod,
    )
    write_rig(arguments.out, options)
    print(f"{options.sequences * options.frames} frames from {options.cameras} cameras in {arguments.out}")


if __name__ == "__main__":
    main()
