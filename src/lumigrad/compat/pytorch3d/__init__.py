"""PyTorch3D's meshes, point clouds, volumes, cameras, renderers, losses and files, on lumigrad's kernels.

The modules have PyTorch3D's paths (`structures`, `renderer`, `transforms`, `ops`, `loss`, `io`, `utils`), and the names
that programs use most are here, too. `install` puts them where `import pytorch3d` finds them. Nothing here needs
PyTorch3D.

Row vectors, X_view = X R + T; view and NDC have +X left, +Y up, +Z into the scene.
"""

from lumigrad.compat import _install
from lumigrad.compat.pytorch3d import renderer
from lumigrad.compat.pytorch3d._convert import (
    meshes_from,
)
from lumigrad.compat.pytorch3d.io import (
    IO,
    load_obj,
    load_objs_as_meshes,
    load_ply,
    save_obj,
    save_ply,
)
from lumigrad.compat.pytorch3d.loss import (
    chamfer_distance,
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
)
from lumigrad.compat.pytorch3d.ops import (
    SubdivideMeshes,
    ball_query,
    interpolate_face_attributes,
    knn_gather,
    knn_points,
    sample_points_from_meshes,
)
from lumigrad.compat.pytorch3d.renderer import *  # noqa: F403
from lumigrad.compat.pytorch3d.structures import (
    Meshes,
    Pointclouds,
    Volumes,
    join_meshes_as_batch,
    join_meshes_as_scene,
    join_pointclouds_as_batch,
    join_pointclouds_as_scene,
)
from lumigrad.compat.pytorch3d.transforms import (
    Rotate,
    RotateAxisAngle,
    Scale,
    Transform3d,
    Translate,
)
from lumigrad.compat.pytorch3d.utils import (
    ico_sphere,
    torus,
)

__version__ = "0.7.9"  # of the interface


def install() -> None:
    """Let `import pytorch3d` and its modules find these. Call it before the first such import.

    Raises:
        RuntimeError: PyTorch3D itself has been imported already.
    """
    _install.install("pytorch3d", __name__)


__all__ = [
    *renderer.__all__,
    "IO",
    "Meshes",
    "Pointclouds",
    "Rotate",
    "RotateAxisAngle",
    "Scale",
    "SubdivideMeshes",
    "Transform3d",
    "Translate",
    "Volumes",
    "ball_query",
    "chamfer_distance",
    "ico_sphere",
    "install",
    "interpolate_face_attributes",
    "join_meshes_as_batch",
    "join_meshes_as_scene",
    "join_pointclouds_as_batch",
    "join_pointclouds_as_scene",
    "knn_gather",
    "knn_points",
    "load_obj",
    "load_objs_as_meshes",
    "load_ply",
    "mesh_edge_loss",
    "mesh_laplacian_smoothing",
    "mesh_normal_consistency",
    "meshes_from",
    "sample_points_from_meshes",
    "save_obj",
    "save_ply",
    "torus",
]
