"""Code shared by the examples for PyTorch3D's interface: their mesh and their pictures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d import Meshes, TexturesVertex, meshes_from
from lumigrad.io import load_image, load_mesh
from lumigrad.scene.shapes.procedural import creature


def arguments(description: str, out: str, size: int, steps: int | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--mesh", type=Path, help="a mesh file (default: the built-in creature)")
    parser.add_argument("--texture", type=Path, help="an image for the mesh, where the file names none")
    parser.add_argument("--size", type=int, default=size, help="pixels along a side of each picture")
    if steps is not None:
        parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def load(options: argparse.Namespace) -> Meshes:
    """A batch of one mesh, centred within a sphere of radius 1, with colours of some kind."""
    mesh = creature(level=4) if options.mesh is None else load_mesh(options.mesh, materials=False)
    if options.texture is not None:
        mesh = replace(mesh, texture=load_image(options.texture)[..., :3])
    meshes = meshes_from(mesh)
    verts = meshes.verts_packed()
    meshes = meshes.offset_verts(-(verts.amin(0) + verts.amax(0)) / 2)
    meshes = meshes.scale_verts(1 / float(meshes.verts_packed().norm(dim=1).max()))
    if meshes.textures is None:
        meshes.textures = TexturesVertex([0.5 + 0.5 * meshes.verts_normals_packed()])
    return meshes


def rows(*images: Tensor) -> Tensor:
    """One picture [H, W, 3] in which each batch [N, h, w, 3] is a row."""
    return torch.cat([torch.cat(list(batch), 1) for batch in images]).detach().clamp(0, 1)
