"""Test the installed lumigrad in a few minutes: its core, what `lumigrad doctor` finds, and ops of every family.

    python .ci/test_installed.py [OPTIONS OF PYTEST]

Needs the folders `tests` and `benchmarks` and pyproject.toml, and looks at no other sources. Used for wheels
(pyproject.toml) and for every platform of .github/workflows/ci.yml.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "engine/test_core.py",
    "engine/test_interface.py",
    "ops/surface/test_rasterize.py",
    "ops/surface/test_antialias.py",
    "ops/texture/test_texture.py",
    "ops/soft/test_soft.py",
    "ops/splat/test_spheres.py",
    "ops/splat/test_gaussians.py",
    "ops/field/test_composite.py",
    "ops/implicit/test_marching_cubes.py",
    "ops/ray/test_trace.py",
    "ops/light/test_bsdf.py",
    "io/test_obj_io.py",
    "render/test_render.py",
)


def main() -> int:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LUMIGRAD_NATIVE_DIR")
    }
    steps = (
        [str(ROOT / ".ci/load_core.py")],
        ["-m", "lumigrad", "doctor", "--report"],
        ["-m", "pytest", "-p", "no:cacheprovider", *(f"tests/{name}" for name in TESTS), *sys.argv[1:]],
    )
    for step in steps:
        print("+ python", *step, flush=True)
        code = subprocess.run([sys.executable, *step], cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
