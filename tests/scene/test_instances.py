"""Instances of a mesh equal copies that were moved one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from render_common import F64, facing, uniform

from lumigrad.io import load_scene
from lumigrad.render import render, render_direct, render_path
from lumigrad.scene import AmbientLight, DiffuseMaterial, Instances, Mesh, Meshes, PBRMaterial, Scene, icosphere

LIGHTS = [AmbientLight(intensity=0.5)]


def ball(**fields: object) -> Mesh:
    """A ball with every attribute that a mesh can have."""
    made = icosphere(1).to(F64)
    count, faces = len(made.positions), made.faces
    return replace(
        made, uvs=uniform(7, 2), uv_faces=faces % 7, second_uvs=uniform(5, 2, seed=1), second_uv_faces=faces % 5,
        colors=uniform(count, 3, seed=2), normals=made.vertex_normals(), normal_faces=faces,
        materials=(DiffuseMaterial(), PBRMaterial()), face_materials=torch.arange(len(faces)) % 2, **fields,
    )  # fmt: skip


def places(count: int = 3) -> torch.Tensor:
    """Scaled, sheared and, but for the first, mirrored."""
    matrices = torch.eye(4, dtype=F64).repeat(count, 1, 1)
    matrices[:, :3] += 0.2 * uniform(count, 3, 4, low=-1.0, seed=3)
    matrices[1:, 0] *= -1
    matrices[:, 0, 3] = torch.arange(count) - 1.0
    return matrices


def test_the_same_as_copies() -> None:
    mesh, matrices = ball(), places()
    ours = Instances(mesh, matrices).flattened()
    theirs = Meshes.join([mesh.transformed(matrix) for matrix in matrices]).packed
    corners = {"positions": "faces", "normals": "normal_faces", "uvs": "uv_faces", "second_uvs": "second_uv_faces"}
    for name, index in corners.items():
        found, wanted = (getattr(each, name)[getattr(each, index).long()] for each in (ours, theirs))
        assert torch.allclose(found, wanted, rtol=0, atol=1e-14), name
    assert torch.equal(ours.colors, theirs.colors)
    assert ours.face_materials.tolist() == mesh.face_materials.tolist() * 3
    assert ours.uvs is mesh.uvs  # there once
    assert ours.materials is mesh.materials


def test_gradients_are_sums_over_instances() -> None:
    mesh = ball()
    weights = uniform(3 * len(mesh.positions), 3, seed=4)

    def moved(positions: torch.Tensor, normals: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        out = Instances(replace(mesh, positions=positions, normals=normals), matrices).flattened()
        return (weights * out.positions).sum() + (weights * out.normals).sum()

    inputs = [value.clone().requires_grad_() for value in (mesh.positions, mesh.normals, places())]
    assert torch.autograd.gradcheck(moved, inputs, atol=1e-6)


def test_pictures() -> None:
    """Every renderer draws instances like copies."""
    mesh = replace(icosphere(1).to(F64), materials=(DiffuseMaterial(base_color=(0.8, 0.3, 0.2)),))
    matrices = 0.4 * places()
    matrices[:, :3, 3] *= 2
    copies, seen = [mesh.transformed(matrix) for matrix in matrices], facing((16, 24))
    ours, theirs = (Scene(shapes, lights=LIGHTS) for shapes in ([Instances(mesh, matrices)], copies))
    assert len(ours.meshes) == 1
    for draw in (render, render_direct, render_path):
        options = {} if draw is render else {"samples": 4}
        wanted = draw(theirs, seen, **options).image
        assert torch.allclose(draw(ours, seen, **options).image, wanted, rtol=0, atol=1e-9), draw.__name__
        assert torch.equal(draw(Instances(mesh, matrices), seen, lights=LIGHTS, **options).image,
                           draw(ours, seen, **options).image)  # fmt: skip


def test_gradients_of_pictures_reach_matrices() -> None:
    matrices = (0.4 * places()).requires_grad_()
    shot = render_path(Instances(ball(), matrices), facing((12, 12)), samples=2, max_depth=2, lights=LIGHTS)
    shot.image.square().sum().backward()
    assert matrices.grad is not None
    assert (matrices.grad[:, :3].abs().amax((1, 2)) > 0).all()
    assert bool(matrices.grad.isfinite().all())


def test_none() -> None:
    assert len(Instances(ball(), places()[:0]).flattened().faces) == 0


def test_wrong_arguments() -> None:
    mesh = icosphere(0)
    with pytest.raises(TypeError, match="mesh: expected a Mesh, got str"):
        Instances("ball", torch.eye(4)[None])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"matrices: expected \[N, 4, 4\] or \[N, 3, 4\], got \[4, 4\]"):
        Instances(mesh, torch.eye(4))
    with pytest.raises(ValueError, match=r"mesh: expected a single one, got a batch \[2, 12, 3\]"):
        Instances(replace(mesh, positions=mesh.positions.repeat(2, 1, 1)), torch.eye(4)[None])
    with pytest.raises(ValueError, match="matrices: expected at most 2147483647 triangles in all, got 107374183 times"):
        Instances(mesh, torch.eye(4).expand(107374183, 4, 4))


def test_of_gltf_files_in_paths(tmp_path: Path) -> None:
    """EXT_mesh_gpu_instancing: one triangle at two places, to the left and to the right of an empty middle."""
    corners = np.array([[-0.9, -0.9, 0], [0.9, -0.9, 0], [0, 0.9, 0]], np.float32)
    shifts = np.array([[-2.5, 0, 0], [2.5, 0, 0]], np.float32)
    data = corners.tobytes() + shifts.tobytes()
    (tmp_path / "two.bin").write_bytes(data)
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 24}]
    accessors = [
        {"bufferView": view, "componentType": 5126, "count": count, "type": "VEC3"} for view, count in ((0, 3), (1, 2))
    ]
    name = "EXT_mesh_gpu_instancing"
    node = {"mesh": 0, "extensions": {name: {"attributes": {"TRANSLATION": 1}}}}
    document = {
        "asset": {"version": "2.0"}, "extensionsUsed": [name], "extensionsRequired": [name],
        "buffers": [{"uri": "two.bin", "byteLength": len(data)}], "bufferViews": views, "accessors": accessors,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "nodes": [node], "scenes": [{"nodes": [0]}],
    }  # fmt: skip
    (tmp_path / "two.gltf").write_text(json.dumps(document))
    scene = load_scene(tmp_path / "two.gltf")
    shot = render_path(scene, facing((9, 27), dtype=torch.float32), samples=4, max_depth=2, lights=LIGHTS)
    left, middle, right = shot.mask[0, ..., 0].tensor_split(3, 1)
    assert left.max() == right.max() == 1
    assert middle.max() == 0
