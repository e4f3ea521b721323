"""Lights and cameras of glTF scenes.

Source: Khronos, glTF 2.0 specification, section 3.10 (cameras), and the extension KHR_lights_punctual.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from lumigrad.io._problems import UnreadableError
from lumigrad.io.gltf.document import Document
from lumigrad.io.gltf.nodes import world_matrices
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.cameras.orthographic import OrthographicCamera
from lumigrad.scene.light.lights import DirectionalLight, Light, PointLight, SpotLight

LIGHTS = "KHR_lights_punctual"
_FAR = 1e5  # far plane of cameras without one, in multiples of their near distance


def lights(document: Document) -> list[tuple[str, Light]]:
    """Names and lights of the scene; lux, and candela at a distance of 1, are the intensities of ours."""
    for name in document.json.get("extensions", {}):
        if name.startswith("EXT_lights_"):
            document.notes.add(f"its lights of the extension {name} are not supported")
    entries = document.json.get("extensions", {}).get(LIGHTS, {}).get("lights", [])
    found: list[tuple[str, Light]] = []
    for number, matrix in world_matrices(document):
        node = document.json["nodes"][number]
        said = node.get("extensions", {}).get(LIGHTS)
        if said is None:
            continue
        index = said.get("light")
        if not isinstance(index, int) or not 0 <= index < len(entries):
            raise UnreadableError(f"nodes[{number}] refers to lights[{index}]; there are {len(entries)}")
        name = str(node.get("name") or entries[index].get("name") or f"light {len(found)}")
        light = _light(entries[index], matrix)
        if light is None:
            what = f"the light '{name}' is left out: it is of the unknown type {entries[index].get('type')}"
            document.notes.add(what, f"lights[{index}]")
        else:
            found.append((name, light))
    return found


def _light(entry: dict[str, Any], matrix: np.ndarray) -> Light | None:
    kind = entry.get("type")
    common: dict[str, Any] = {
        "color": torch.tensor([float(x) for x in entry.get("color", (1, 1, 1))]),
        "intensity": float(entry.get("intensity", 1)),
    }
    ahead = torch.from_numpy(-matrix[:3, 2]).float()  # lights look along -z
    if kind == "directional":
        return DirectionalLight(-ahead, **common)
    common |= {"position": torch.from_numpy(matrix[:3, 3].copy()).float()}
    if "range" in entry:
        common["range"] = float(entry["range"])
    if kind == "point":
        return PointLight(**common)
    if kind != "spot":
        return None
    cone = entry.get("spot", {})
    outer = math.degrees(cone.get("outerConeAngle", math.pi / 4))
    inner = min(math.degrees(cone.get("innerConeAngle", 0.0)), outer - 1e-3)
    return SpotLight(**common, direction=ahead, inner=inner, outer=outer)


def cameras(document: Document, size: tuple[int, int], own_aspect: bool = False) -> list[tuple[str, Camera]]:
    """Names and float64 cameras of the scene for images of (height, width).

    The vertical field of view is the file's. own_aspect: where a camera has an aspect ratio, the width follows from it.
    """
    found: list[tuple[str, Camera]] = []
    for number, matrix in world_matrices(document):
        node = document.json["nodes"][number]
        if "camera" in node:
            entry = document.entry("cameras", node["camera"], f"nodes[{number}]")
            name = str(node.get("name") or entry.get("name") or f"camera {len(found)}")
            found.append((name, _camera(entry, matrix, size, own_aspect, f"cameras[{node['camera']}]")))
    return found


def _camera(entry: dict[str, Any], matrix: np.ndarray, size: tuple[int, int], own_aspect: bool, where: str) -> Camera:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)  # scales do not change what a camera sees
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = axes.T, -axes.T @ matrix[:3, 3]
    view, kind = torch.from_numpy(pose), entry.get("type")
    if kind not in ("perspective", "orthographic"):
        raise UnreadableError(f"{where} is of the unknown type {kind}")
    said = entry[kind]
    near = float(said["znear"])
    if kind == "orthographic":
        height, ratio, far = float(said["ymag"]), float(said["xmag"]) / float(said["ymag"]), float(said["zfar"])
    else:
        height, ratio = math.tan(float(said["yfov"]) / 2), float(said.get("aspectRatio", 0))
        far = float(said.get("zfar", _FAR * near))
    if own_aspect and ratio > 0:
        size = (size[0], max(1, round(size[0] * ratio)))
    focal = (size[0] / size[1] / height, 1 / height)
    made = OrthographicCamera if kind == "orthographic" else PerspectiveCamera
    return made.from_ndc(focal, size, world_to_camera=view, near=near, far=far)
