"""Errors of a reconstruction relative to the true surface."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.metrics import sample_points
from lumigrad.scene.shapes.mesh import Mesh

# Distance within which a point counts as found, relative to the diagonal.
_FOUND = 0.005


def surface_errors(mesh: Mesh, truth: Mesh, count: int = 50_000, seed: int = 0, part: bool = False) -> dict[str, float]:
    """Distances between random points of two surfaces, relative to the diagonal of the true one's bounding box.

    A point's distance is that to the plane of the nearest point of the other surface, if this is near, so that values
    do not depend on how densely points lie.

    Args:
        count: random points of each surface.
        part: the truth is a part of what was reconstructed, such as a statue in a garden. Points of the mesh that are
            not inside of the truth's bounding box, by 0.5 % of its diagonal or more, are left out, and no others.

    Returns:
        accuracy: mean distance from the reconstruction to the truth.
        completeness: mean distance from the truth to the reconstruction.
        chamfer: the mean of both.
        f_score: harmonic mean of the shares of points, of either surface, that lie within 0.5 % of the other one.
        normal_error_degrees: median angle between the normal at a true point and that at the nearest point of the
            reconstruction.

    >>> from lumigrad.fit.reconstruct import surface_errors
    >>> from lumigrad.scene import icosphere
    >>> found = surface_errors(icosphere(4, radius=1.02), icosphere(4), count=5000)
    >>> round(found["chamfer"] * 12**0.5, 2), found["f_score"] < 0.1, found["normal_error_degrees"] < 5
    (0.02, True, True)
    """
    low, high = truth.bounds()
    diagonal = float((high - low).norm())
    if part:
        mesh = _near(mesh, low, high)
    ours, our_normals = sample_points(mesh, count, seed)
    theirs, their_normals = sample_points(truth, count, seed + 1)
    if part:
        inside = ((ours > low + _FOUND * diagonal) & (ours < high - _FOUND * diagonal)).all(-1)
        ours, our_normals = ours[inside], our_normals[inside]
    tree = require("scipy.spatial", "lumigrad.fit.reconstruct.surface_errors").cKDTree
    distances, normals = [], torch.zeros(0)
    for points, others, other_normals in ((ours, theirs, their_normals), (theirs, ours, our_normals)):
        far, nearest = tree(others.double().numpy()).query(points.double().numpy())
        index = torch.from_numpy(nearest)
        plane = ((points - others[index]) * other_normals[index]).sum(-1).abs()
        straight = torch.from_numpy(far).to(plane)
        # For points nearer than the spacing of samples, use the surface between the samples.
        distances.append(torch.where(straight < 0.02 * diagonal, plane, straight) / diagonal)
        normals = other_normals[index]
    accuracy, completeness = (float(distance.mean()) for distance in distances)
    precision, recall = (float((distance < _FOUND).double().mean()) for distance in distances)
    cosine = (normals * their_normals).sum(-1).clamp(-1, 1)
    return {
        "accuracy": accuracy,
        "completeness": completeness,
        "chamfer": 0.5 * (accuracy + completeness),
        "f_score": 2 * precision * recall / max(precision + recall, 1e-12),
        "normal_error_degrees": float(torch.rad2deg(torch.acos(cosine)).median()),
    }


def _near(mesh: Mesh, low: Tensor, high: Tensor) -> Mesh:
    """The faces of a mesh whose boxes meet a box of two corners [3]."""
    corners = mesh.positions[mesh.faces.long()]
    meets = ((corners.amax(1) > low) & (corners.amin(1) < high)).all(-1)
    if not bool(meets.any()):
        raise ValueError("truth: no part of the mesh is where it is; expected it in the coordinates of the cameras")
    return mesh.submesh(meets)
