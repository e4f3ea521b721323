"""Adapters where programs import the libraries that they imitate."""

from __future__ import annotations

import subprocess
import sys

# They run one after the other in one process: importing torch takes longer than all of them.
PROGRAMS = {
    "pytorch3d": """
        import lumigrad.compat.pytorch3d as adapter
        adapter.install()
        import pytorch3d, pytorch3d.renderer.mesh.shader
        from pytorch3d.structures import Meshes
        from pytorch3d.structures.meshes import Meshes as same
        from pytorch3d.renderer.points.pulsar import Renderer
        from pytorch3d.transforms.rotation_conversions import quaternion_to_matrix
        assert pytorch3d is adapter and Meshes is same is adapter.Meshes
        """,
    "nvdiffrast": """
        import lumigrad.compat.nvdiffrast as adapter
        adapter.install()
        import nvdiffrast.torch as dr
        assert dr is adapter and dr.rasterize is adapter.rasterize
        """,
    "gsplat": """
        import lumigrad.compat.gsplat as adapter
        adapter.install()
        from gsplat import PngCompression, rasterization
        from gsplat.losses import masked_l1
        from gsplat.optimizers import SelectiveAdam
        from gsplat.rendering import rasterization as same
        from gsplat.strategy import DefaultStrategy
        assert rasterization is same is adapter.rasterization
        """,
    "gsplat_private": """
        import lumigrad.compat.gsplat as adapter
        adapter.install()
        from gsplat import project_gaussians, rasterize_gaussians
        from gsplat._torch_impl import quat_to_rotmat
        from gsplat.cuda._torch_impl import _quat_to_rotmat
        from gsplat.cuda._wrapper import fully_fused_projection
        from gsplat.cuda_legacy._wrapper import num_sh_bases
        from gsplat.distributed import cli
        from gsplat.project_gaussians import project_gaussians as same
        assert project_gaussians is same and fully_fused_projection is adapter.fully_fused_projection
        """,
    "nerfacc": """
        import lumigrad.compat.nerfacc as adapter
        adapter.install()
        import nerfacc
        from nerfacc.estimators.occ_grid import OccGridEstimator
        from nerfacc.estimators.prop_net import PropNetEstimator, get_proposal_requires_grad_fn
        from nerfacc.volrend import accumulate_along_rays, rendering
        assert nerfacc is adapter and OccGridEstimator is nerfacc.OccGridEstimator
        """,
    "nerfacc_0.3": """
        import sys
        for name in [name for name in sys.modules if name.partition(".")[0] == "nerfacc"]: del sys.modules[name]
        import lumigrad.compat.nerfacc as adapter
        adapter.install(version="0.3")
        from nerfacc import ContractionType, OccupancyGrid, ray_marching, rendering
        from nerfacc.intersection import ray_aabb_intersect
        assert ray_marching is adapter.v0_3.ray_marching
        """,
    "twice": """
        from lumigrad.compat import gsplat
        gsplat.install()
        gsplat.install()
        """,
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    lines = "\n".join(line.strip() for line in program.splitlines())
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)


def test_programs_find_the_adapters() -> None:
    done = run("\n".join(f"{program}\nprint({name!r})" for name, program in PROGRAMS.items()))
    assert done.stdout.split() == list(PROGRAMS), done.stderr


def test_another_library_is_not_replaced() -> None:
    done = run("""
        import sys, types
        sys.modules["gsplat"] = types.ModuleType("gsplat")
        from lumigrad.compat import gsplat
        gsplat.install()
        """)
    assert "gsplat: " in done.stderr
    assert "has been imported already" in done.stderr
