"""Scenes in files: a mesh together with its lights, and cameras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.gltf import scene as gltf
from lumigrad.io.gltf.document import Document
from lumigrad.io.mesh import load_mesh
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light
from lumigrad.scene.scene import Scene
from lumigrad.types.validation import as_path

T = TypeVar("T")
_GLTF = (".gltf", ".glb")


def load_scene(path: str | Path) -> Scene:
    """Read the mesh of a file, as `load_mesh` does, and its lights (KHR_lights_punctual of glTF).

    Raises:
        FileNotFoundError, ValueError, MissingPackageError: as `load_mesh`.

    >>> import tempfile
    >>> from lumigrad.io import load_scene, save_mesh
    >>> from lumigrad.scene import icosphere
    >>> path = tempfile.mkdtemp() + "/ball.glb"
    >>> save_mesh(icosphere(1), path)
    >>> scene = load_scene(path)
    >>> len(scene.meshes[0].faces), scene.lights
    (80, ())
    """
    path = as_path("path", path)
    mesh = load_mesh(path)
    return Scene(mesh, [light for _, light in named_lights(path)])


def named_lights(path: Path) -> list[tuple[str, Light]]:
    """The lights of a file and their names; of other files than glTF none.

    Raises:
        ValueError: a file that cannot be read.
    """
    return of_document(path, gltf.lights) if path.suffix.lower() in _GLTF else []


def load_cameras(path: str | Path, size: tuple[int, int]) -> list[Camera]:
    """Read the cameras of a glTF file, single ones, in the order of its nodes.

    Args:
        path: glTF or GLB.
        size: (height, width) of the images. The vertical field of view is the file's, whatever aspect ratio it names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, or a file that cannot be read.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from lumigrad.io import load_cameras
    >>> path = Path(tempfile.mkdtemp()) / "views.gltf"
    >>> lens = {"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}
    >>> node = {"camera": 0, "translation": [0, 0, 5]}
    >>> document = {"asset": {"version": "2.0"}, "cameras": [lens], "nodes": [node], "scenes": [{"nodes": [0]}]}
    >>> _ = path.write_text(json.dumps(document))
    >>> (camera,) = load_cameras(path, size=(48, 64))
    >>> camera.position.tolist()
    [0.0, 0.0, 5.0]
    """
    path = as_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"no such scene: {path}")
    if path.suffix.lower() not in _GLTF:
        raise ValueError(f"cannot read cameras of {path}: expected one of {', '.join(_GLTF)}")
    return [camera.to(torch.float32) for _, camera in of_document(path, lambda document: gltf.cameras(document, size))]


def of_document(path: Path, read: Callable[[Document], list[T]]) -> list[T]:
    """The result of `read` for a glTF file; errors become a ValueError that names the file."""
    notes = Notes(path)
    try:
        return read(Document(path, notes))
    except UnreadableError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"cannot read {path}: its JSON has a value of another kind than expected ({error})") from error
    finally:
        notes.warn(stacklevel=4)
