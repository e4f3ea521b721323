"""glTF files written byte by byte, compared with the content that the specification defines."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lumigrad.io import FileWarning, load_cameras, load_mesh, load_scene, save_mesh
from lumigrad.render import render
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    Mesh,
    Meshes,
    OrthographicCamera,
    PBRMaterial,
    PerspectiveCamera,
    PointLight,
    SpotLight,
    icosphere,
)

SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
UVS = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
TWO = np.array([0, 1, 2, 0, 2, 3], np.uint16)
FRONT = np.array([[0, 0, 1]] * 4, np.float32)
CODES = {"float32": 5126, "uint16": 5123, "uint8": 5121, "int16": 5122, "int8": 5120, "uint32": 5125}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class File:
    """A document with one buffer, which is written into it."""

    def __init__(self) -> None:
        self.data = b""
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def view(self, data: bytes) -> int:
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        self.data += data + b"\0" * (-len(data) % 4)
        return len(self.json["bufferViews"]) - 1

    def put(self, array: np.ndarray, normalized: bool = False, **more: Any) -> int:
        kind = KINDS[1 if array.ndim == 1 else array.shape[1]]
        entry = {"bufferView": self.view(array.tobytes()), "componentType": CODES[array.dtype.name]}
        entry |= {"count": len(array), "type": kind} | ({"normalized": True} if normalized else {}) | more
        self.json["accessors"].append(entry)
        return len(self.json["accessors"]) - 1

    def primitive(self, attributes: dict[str, Any], index: np.ndarray | None = TWO, **more: Any) -> dict[str, Any]:
        found = {k: self.put(*v) if isinstance(v, tuple) else self.put(v) for k, v in attributes.items()}
        return {"attributes": found, **({} if index is None else {"indices": self.put(index)}), **more}

    def write(self, path: Path) -> Path:
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        path.write_text(json.dumps(self.json | {"buffers": [{"uri": uri, "byteLength": len(self.data)}]}))
        return path


def square(
    path: Path, attributes: dict[str, Any] | None = None, material: Any = None, index: Any = TWO, **more: Any
) -> Path:
    """A file of one square, in its own plane; `more` goes into the primitive."""
    file = File()
    primitive = file.primitive({"POSITION": SQUARE, **(attributes or {})}, index, **more)
    if material is not None:
        file.json["materials"], primitive["material"] = [material], 0
    file.json["meshes"] = [{"primitives": [primitive]}]
    return file.write(path / "a.gltf")


def edited(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    return path


def material_of(path: Path, material: Any) -> PBRMaterial:
    (found,) = load_mesh(square(path, {"TEXCOORD_0": UVS}, material)).materials
    assert isinstance(found, PBRMaterial)
    return found


def png(color: tuple[int, ...], size: tuple[int, int] = (4, 4)) -> str:
    stream = io.BytesIO()
    Image.new("RGB" if len(color) == 3 else "RGBA", size, color).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def test_whole_numbers_are_colours(tmp_path: Path) -> None:
    factors = {"baseColorFactor": [1, 0, 1, 1], "metallicFactor": 0, "roughnessFactor": 1}
    strong = {"KHR_materials_emissive_strength": {"emissiveStrength": 2}}
    found = material_of(
        tmp_path, {"pbrMetallicRoughness": factors, "emissiveFactor": [1, 0, 1], "extensions": strong, "alphaCutoff": 1}
    )
    assert found.base_color.tolist() == [1, 0, 1]
    assert found.emissive.tolist() == [2, 0, 2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_normalized_texture_coordinates(tmp_path: Path, dtype: type) -> None:
    most = np.iinfo(dtype).max
    mesh = load_mesh(square(tmp_path, {"TEXCOORD_0": ((UVS * most).astype(dtype), True)}))
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces[0]], torch.from_numpy(UVS[:3]))


def test_quantized_positions_and_normals(tmp_path: Path) -> None:
    """Signed integers are c / 32767; integers that are not normalised are themselves, and a node scales them."""
    file = File()
    corners = np.zeros((4, 4), np.int16)  # rows of eight bytes
    corners[:, :3] = SQUARE * 32767
    normals = np.zeros((4, 4), np.int8)
    normals[:, 2] = 127
    view = file.view(corners.tobytes())
    file.json["bufferViews"][view]["byteStride"] = 8
    file.json["accessors"] = [
        {"bufferView": view, "componentType": 5122, "count": 4, "type": "VEC3", "normalized": True},
        {"bufferView": view, "componentType": 5122, "count": 4, "type": "VEC3"},
    ]
    normal = file.view(normals.tobytes())
    file.json["bufferViews"][normal]["byteStride"] = 4
    file.json["accessors"].append(
        {"bufferView": normal, "componentType": 5120, "count": 4, "type": "VEC3", "normalized": True}
    )
    index = file.put(TWO)
    file.json["meshes"] = [
        {"primitives": [{"attributes": {"POSITION": i, "NORMAL": 2}, "indices": index}]} for i in (0, 1)
    ]
    file.json["nodes"] = [{"mesh": 0}, {"mesh": 1, "scale": [3 / 32767] * 3}]
    file.json["scenes"] = [{"nodes": [0, 1]}]
    file.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    torch.testing.assert_close(mesh.positions[mesh.faces[:2]].amax((0, 1)), torch.tensor([1.0, 1, 0]))
    torch.testing.assert_close(mesh.positions[mesh.faces[2:]].amax((0, 1)), torch.tensor([3.0, 3, 0]))
    assert mesh.normals is not None
    torch.testing.assert_close(mesh.normals, torch.tensor([[0.0, 0, 1]]))


def test_vertex_colours_are_linear(tmp_path: Path) -> None:
    """Vertex colours are linear: half of the light is encoded as 0.7354; alpha is unchanged."""
    rgba = np.full((4, 4), 0.5, np.float32)
    mesh = load_mesh(square(tmp_path, {"COLOR_0": rgba}))
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors[0], torch.tensor([0.73536, 0.73536, 0.73536, 0.5]), atol=1e-4, rtol=0)
    rgb = load_mesh(square(tmp_path, {"COLOR_0": rgba[:, :3].copy(), "NORMAL": FRONT}))
    matte = PBRMaterial(metallic=0.0, roughness=1.0)
    camera = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 35.0, (16, 16))
    shot = render(
        type(rgb)(rgb.positions, rgb.faces, colors=rgb.colors, materials=(matte,)),
        camera,
        lights=[AmbientLight(intensity=1.0)],
        tone_mapping=None,
    )
    torch.testing.assert_close(shot.image[0, 8, 8], torch.full((3,), 0.5), atol=0.02, rtol=0)


def test_faces_are_flat_where_there_are_no_normals(tmp_path: Path) -> None:
    bent = np.array([[-1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, -1]], np.float32)
    file = File()
    index = np.array([0, 1, 2, 1, 3, 2], np.uint16)
    file.json["meshes"] = [{"primitives": [file.primitive({"POSITION": bent}, index)]}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    assert mesh.normals is not None
    assert mesh.normal_faces is not None
    assert mesh.positions.shape == (4, 3)
    expected = torch.tensor([[[0.0, 0, 1]] * 3, [[1.0, 0, 0]] * 3])
    torch.testing.assert_close(mesh.normals[mesh.normal_faces], expected)


def test_morph_targets_with_their_default_weights(tmp_path: Path) -> None:
    file = File()
    primitive = file.primitive({"POSITION": SQUARE, "NORMAL": FRONT})
    up, side = (np.tile(np.array(v, np.float32), (4, 1)) for v in ((0, 0, 1), (1, 0, 0)))
    primitive["targets"] = [{"POSITION": file.put(up)}, {"POSITION": file.put(side), "NORMAL": file.put(side)}]
    file.json["meshes"] = [{"primitives": [primitive], "weights": [0.5, 0]}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    torch.testing.assert_close(mesh.positions, torch.from_numpy(SQUARE + 0.5 * up))
    file.json["nodes"] = [{"mesh": 0, "weights": [0, 1]}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    torch.testing.assert_close(mesh.positions, torch.from_numpy(SQUARE + side))
    assert mesh.normals is not None
    torch.testing.assert_close(mesh.normals[0], torch.tensor([0.5, 0, 0.5]).sqrt())


def test_skins_stand_as_their_joints_do(tmp_path: Path) -> None:
    """Two vertices follow a joint that is turned by 90 degrees and moved; the node of the mesh does not matter."""
    file = File()
    joints = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], np.uint8)
    weights = np.array([[1, 0, 0, 0]] * 4, np.float32)
    weights[3] = (0.5, 0.5, 0, 0)  # half of either joint
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 3, :3] = (0, -1, 0)  # in columns: moves joint 1 from (0, 1, 0) to the origin
    primitive = file.primitive({"POSITION": SQUARE, "NORMAL": FRONT, "JOINTS_0": joints, "WEIGHTS_0": weights})
    file.json["meshes"] = [{"primitives": [primitive]}]
    file.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": file.put(inverse.reshape(2, 16))}]
    half = math.sqrt(0.5)
    file.json["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [100, 0, 0]},
        {},
        {"translation": [0, 1, 5], "rotation": [0, half, 0, half]},
    ]
    file.json["scenes"] = [{"nodes": [0, 1, 2]}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    # (x, y, z) -> rotation about y by 90 degrees: (z, y, -x), then + (0, 0, 5).
    turned = [[0, 1, -1 + 5], [0, 1, 1 + 5]]
    expected = [[-1, -1, 0], [1, -1, 0], turned[0], [(-1 + 0) / 2, 1, (0 + 6) / 2]]
    torch.testing.assert_close(mesh.positions, torch.tensor(expected).float())


@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])])
def test_strips_and_fans(tmp_path: Path, mode: int, order: list[int]) -> None:
    mesh = load_mesh(square(tmp_path, index=np.array(order, np.uint16), mode=mode))
    assert mesh.faces.shape == (2, 3)
    torch.testing.assert_close(mesh.face_normals(), torch.tensor([[0.0, 0, 4]] * 2))


def test_points_and_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="points or lines, and no triangles"), pytest.warns(FileWarning, match="lines"):
        load_mesh(square(tmp_path, mode=1))


def test_sparse_accessors(tmp_path: Path) -> None:
    file = File()
    primitive = file.primitive({"POSITION": SQUARE})
    index, values = file.view(np.uint16([2]).tobytes()), file.view(np.float32([[5, 6, 7]]).tobytes())
    file.json["accessors"][primitive["attributes"]["POSITION"]]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": index, "componentType": 5123},
        "values": {"bufferView": values},
    }
    file.json["meshes"] = [{"primitives": [primitive]}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    assert mesh.positions.tolist() == [[-1, -1, 0], [1, -1, 0], [5, 6, 7], [-1, 1, 0]]


def test_instances(tmp_path: Path) -> None:
    file = File()
    file.json["meshes"] = [{"primitives": [file.primitive({"POSITION": SQUARE})]}]
    where = file.put(np.float32([[0, 0, 0], [10, 0, 0]])), file.put(np.float32([[1, 1, 1], [2, 2, 2]]))
    instancing = {"attributes": {"TRANSLATION": where[0], "SCALE": where[1]}}
    file.json["nodes"] = [{"mesh": 0, "translation": [0, 0, 1], "extensions": {"EXT_mesh_gpu_instancing": instancing}}]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    assert len(mesh.faces) == 4
    assert mesh.bounds()[0].tolist() == [-1, -2, 1]
    assert mesh.bounds()[1].tolist() == [12, 2, 1]


def test_images_by_their_encoded_names(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "my t.png")
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    path = square(tmp_path, {"TEXCOORD_0": UVS}, material)
    edited(path, textures=[{"source": 0}], images=[{"uri": "my%20t.png"}])
    assert load_mesh(path).texture[0, 0].tolist() == [1, 0, 0]  # type: ignore[index]
    edited(path, images=[{"uri": "gone.png"}])
    with pytest.warns(FileWarning, match=r"a\.gltf, images\[0\]: .*'gone\.png', and there is no such file") as said:
        assert load_mesh(path).texture is None
    assert len(said) == 1


def test_texture_transforms_turn_and_wrap(tmp_path: Path) -> None:
    """A rotation of the coordinates by 90 degrees counter-clockwise, as seen, takes (1, 0) to (0, -1)."""
    moved = {"KHR_texture_transform": {"offset": [0.25, 0.5], "rotation": math.pi / 2, "scale": [2, 3]}}
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "extensions": moved}}}
    path = square(tmp_path, {"TEXCOORD_0": UVS}, material)
    edited(path, textures=[{"source": 0}], images=[{"uri": png((1, 2, 3))}])
    mesh = load_mesh(path)
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    # offset + rotation (scale (u, v)): (u, v) -> (0.25 + 3 v, 0.5 - 2 u)
    expected = torch.tensor([[0.25 + 3 * v, 0.5 - 2 * u] for u, v in UVS[:3].tolist()])
    torch.testing.assert_close(mesh.uvs[mesh.uv_faces[0]], expected)


@pytest.mark.parametrize(("wrap", "seen"), [(10497, "red"), (33071, "green"), (33648, "green")])
def test_wrapping_outside_the_image(tmp_path: Path, wrap: int, seen: str) -> None:
    """At u = 1.25 a repeated image shows its left half, a clamped or mirrored one its right half."""
    stream = io.BytesIO()
    halves = Image.new("RGB", (8, 8), (255, 0, 0))
    halves.paste((0, 255, 0), (4, 0, 8, 8))
    halves.save(stream, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    path = square(tmp_path, {"TEXCOORD_0": UVS * np.float32([2.5, 1])}, material)
    edited(path, textures=[{"source": 0, "sampler": 0}], images=[{"uri": uri}], samplers=[{"wrapS": wrap}])
    camera = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 2 * math.degrees(math.atan(0.25)), (64, 64))
    shot = render(load_mesh(path), camera, shading="unlit")
    # The square fills the image, so that column 32 is at u = 1.27.
    expected = {"red": [1.0, 0.0, 0.0], "green": [0.0, 1.0, 0.0]}[seen]
    torch.testing.assert_close(shot.image[0, 32, 32], torch.tensor(expected), atol=0.02, rtol=0)


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.array([[left] * 4 + [right] * 4] * 4, np.uint8)).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def seen(mesh: Mesh, **options: Any) -> torch.Tensor:
    """The square from the front, in a picture that it nearly fills."""
    camera = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 35.0, (32, 32))
    return render(mesh, camera, lights=[AmbientLight(intensity=0.0)], **options).image[0]


@pytest.mark.parametrize("second", ["TEXCOORD_1", "offset"])
def test_second_texture_coordinates(tmp_path: Path, second: str) -> None:
    """A black square glows red and green, mirrored against its first coordinates, or moved by half the image."""
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
        "emissiveTexture": {"index": 1},
        "emissiveFactor": [1, 1, 1],
    }
    attributes = {"TEXCOORD_0": UVS}
    if second == "offset":
        material["emissiveTexture"]["extensions"] = {"KHR_texture_transform": {"offset": [0.5, 0]}}
    else:
        material["emissiveTexture"]["texCoord"] = 1
        attributes["TEXCOORD_1"] = np.float32([1, 0]) + UVS * np.float32([-1, 1])
    path = square(tmp_path, attributes, material)
    images = [{"uri": png((0, 0, 0))}, {"uri": halves((255, 0, 0), (0, 255, 0))}]
    mesh = load_mesh(edited(path, textures=[{"source": 0}, {"source": 1}], images=images))
    save_mesh(mesh, tmp_path / "again.glb")
    for one in (mesh, load_mesh(tmp_path / "again.glb")):
        assert one.materials[0].second_uv_textures == ("emissive_texture",)
        image = seen(one)
        assert torch.allclose(image[16, 10], torch.tensor([0.0, 1, 0]), atol=0.02)
        assert torch.allclose(image[16, 22], torch.tensor([1.0, 0, 0]), atol=0.02)
    plain = load_mesh(path, materials=False)
    assert plain.second_uvs is None
    material["normalTexture"] = {"index": 1, "extensions": {"KHR_texture_transform": {"scale": [3, 3]}}}
    with pytest.warns(FileWarning, match=r"materials\[0\]: (normal|emissive)Texture is left out"):
        load_mesh(edited(path, materials=[material]))


def test_normal_maps_at_second_coordinates(tmp_path: Path) -> None:
    """Normal maps at second coordinates bend normals as they would at equal first coordinates."""
    turned = np.ascontiguousarray(UVS[:, ::-1])
    bumps = {"uri": halves((200, 128, 230), (128, 60, 230))}
    shown = []
    for texcoord in (0, 1):
        material = {"normalTexture": {"index": 0, "texCoord": texcoord}}
        attributes = {"NORMAL": FRONT, f"TEXCOORD_{texcoord}": turned}
        if texcoord:
            material["emissiveTexture"] = {"index": 1}
            material["pbrMetallicRoughness"] = {"baseColorTexture": {"index": 1}}  # type: ignore[dict-item]
            attributes["TEXCOORD_0"] = UVS
        path = square(tmp_path, attributes, material)
        images = [bumps, {"uri": png((255, 255, 255))}]
        mesh = load_mesh(edited(path, textures=[{"source": 0}, {"source": 1}], images=images))
        shown.append(seen(mesh, shading="normals"))
    assert torch.allclose(shown[0], shown[1], atol=1e-6)
    assert shown[0][4:28, 4:28].std(dim=(0, 1)).max() > 0.05


def test_clamped_second_coordinates(tmp_path: Path) -> None:
    """The first texture repeats, and the second, at the same coordinates, does not."""
    material: dict[str, Any] = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
        "emissiveTexture": {"index": 1},
        "emissiveFactor": [1, 1, 1],
    }
    path = square(tmp_path, {"TEXCOORD_0": UVS * np.float32([2, 1])}, material)
    images = [{"uri": png((0, 0, 0))}, {"uri": halves((255, 0, 0), (0, 255, 0))}]
    edited(path, textures=[{"source": 0}, {"source": 1, "sampler": 0}], images=images, samplers=[{"wrapS": 33071}])
    image = seen(load_mesh(path))
    for column, color in ((6, [1.0, 0, 0]), (13, [0.0, 1, 0]), (20, [0.0, 1, 0]), (26, [0.0, 1, 0])):
        assert torch.allclose(image[16, column], torch.tensor(color), atol=0.05), column


def test_meshes_keep_second_coordinates(tmp_path: Path) -> None:
    """Second coordinates are kept in batches, parts and mirrored copies; formats without them give a warning."""
    ball = icosphere(1)
    glow = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    shown = PBRMaterial(
        base_color_texture=1 - glow, normal_texture=glow, second_uv_textures=("base_color_texture", "normal_texture")
    )
    uvs = torch.rand(len(ball.positions), 2, generator=torch.Generator().manual_seed(1))
    mesh = replace(ball, uvs=uvs, uv_faces=ball.faces, second_uvs=uvs.flip(1), materials=(shown,))
    batch = Meshes.join([ball, mesh])[1]
    for one in (batch, mesh.submesh(torch.arange(len(mesh.faces)))):
        assert isinstance(one, Mesh)
        assert torch.equal(one.second_uvs[one.second_uv_faces], uvs.flip(1)[ball.faces])  # type: ignore[index]
    mirrored = mesh.transformed(torch.diag(torch.tensor([-1.0, 1, 1, 1])))
    assert torch.equal(mirrored.second_uvs[mirrored.second_uv_faces], uvs.flip(1)[mirrored.faces])  # type: ignore[index]
    with pytest.warns(FileWarning, match="material .material.: (diffuse|normal)_texture is left out"):
        save_mesh(mesh, tmp_path / "a.obj")
    assert load_mesh(tmp_path / "a.obj").materials[0].second_uv_textures == ()
    with pytest.raises(ValueError, match="second_uv_textures: expected a tuple of"):
        PBRMaterial(second_uv_textures=("nothing",))


def test_unlit(tmp_path: Path) -> None:
    material = {"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1]}, "extensions": {"KHR_materials_unlit": {}}}
    mesh = load_mesh(square(tmp_path, material=material))
    camera = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 35.0, (16, 16))
    dark = [AmbientLight(intensity=0.0)]
    for shading in ("pbr", "phong", "gouraud", "flat"):
        shot = render(mesh, camera, shading=shading, lights=dark)
        torch.testing.assert_close(shot.image[0, 8, 8], torch.ones(3))


def test_specular_glossiness(tmp_path: Path) -> None:
    """A dielectric keeps its diffuse colour; no diffuse and much specular colour is a metal of that colour."""

    def read(**said: Any) -> PBRMaterial:
        return material_of(tmp_path, {"extensions": {"KHR_materials_pbrSpecularGlossiness": said}})

    paint = read(diffuseFactor=[0.5, 0.25, 0, 1], specularFactor=[0.04, 0.04, 0.04], glossinessFactor=0.25)
    torch.testing.assert_close(paint.base_color, torch.tensor([0.5, 0.25, 0.0]), atol=0.01, rtol=0)
    assert paint.metallic == pytest.approx(0, abs=0.01)
    assert paint.roughness == pytest.approx(0.75)
    gold = read(diffuseFactor=[0, 0, 0, 1], specularFactor=[1, 0.75, 0.25], glossinessFactor=1)
    torch.testing.assert_close(gold.base_color, torch.tensor([1.0, 0.75, 0.25]), atol=0.01, rtol=0)
    assert gold.metallic == pytest.approx(1)


def test_coats_and_transmission(tmp_path: Path) -> None:
    said = {
        "KHR_materials_clearcoat": {"clearcoatFactor": 0.75, "clearcoatRoughnessFactor": 0.5},
        "KHR_materials_transmission": {"transmissionFactor": 0.25},
        "KHR_materials_ior": {"ior": 1.25},
    }
    thin = material_of(tmp_path, {"extensions": said})
    assert (thin.clearcoat, thin.clearcoat_roughness, thin.transmission, thin.ior) == (0.75, 0.5, 0.25, 1.25)
    assert not thin.solid
    volume = {"thicknessFactor": 0.1, "attenuationColor": [0.5, 0.25, 1], "attenuationDistance": 2}
    solid = material_of(tmp_path, {"extensions": said | {"KHR_materials_volume": volume}})
    assert solid.solid
    torch.testing.assert_close((-2 * solid.absorption).exp(), torch.tensor([0.5, 0.25, 1.0]))
    with pytest.warns(FileWarning, match="clearcoatNormalTexture is left out"):
        material_of(tmp_path, {"extensions": {"KHR_materials_clearcoat": {"clearcoatNormalTexture": {"index": 0}}}})


def test_coats_and_transmission_are_written(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    image = (torch.rand(4, 4, 3, generator=generator) * 255).round() / 255
    material = PBRMaterial(
        clearcoat=0.5, clearcoat_roughness=0.25, clearcoat_roughness_texture=image, transmission=0.75, ior=1.25,
        solid=True, absorption=(0.5, 0.25, 0.0),
    )  # fmt: skip
    ball = icosphere(1)
    save_mesh(replace(ball, uvs=ball.positions[:, :2], materials=(material,)), tmp_path / "ball.glb")
    (read,) = load_mesh(tmp_path / "ball.glb").materials
    for name in ("clearcoat", "clearcoat_roughness", "transmission", "ior", "solid"):
        assert getattr(read, name) == getattr(material, name)
    torch.testing.assert_close(read.absorption, material.absorption, atol=1e-5, rtol=0)
    torch.testing.assert_close(read.clearcoat_roughness_texture, image)
    assert read.clearcoat_texture is None


def test_required_extensions_are_named(tmp_path: Path) -> None:
    path = edited(square(tmp_path), extensionsRequired=["VENDOR_x"], extensionsUsed=["VENDOR_x"])
    with pytest.raises(ValueError, match=r"a\.gltf.*requires the glTF extension VENDOR_x"):
        load_mesh(path)


def test_unknown_material_extensions_are_said_once(tmp_path: Path) -> None:
    material = {"extensions": {"KHR_materials_sheen": {}}}
    with pytest.warns(FileWarning, match=r"materials\[0\]: the extension KHR_materials_sheen") as said:
        load_mesh(square(tmp_path, material=material))
    assert len(said) == 1


def test_lights(tmp_path: Path) -> None:
    file = File()
    file.json["meshes"] = [{"primitives": [file.primitive({"POSITION": SQUARE})]}]
    file.json["extensions"] = {
        "KHR_lights_punctual": {
            "lights": [
                {"type": "directional", "intensity": 3},
                {"type": "point", "color": [1, 0, 0], "range": 7},
                {"type": "spot", "spot": {"innerConeAngle": 0.1, "outerConeAngle": 0.2}},
            ]
        }
    }
    half = math.sqrt(0.5)
    node: list[dict[str, Any]] = [{"extensions": {"KHR_lights_punctual": {"light": i}}} for i in range(3)]
    node[0]["rotation"] = [-half, 0, 0, half]  # turns -z to -y: the light shines downwards
    node[1]["translation"] = [1, 2, 3]
    file.json["nodes"] += node
    file.json["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    sun, lamp, spot = load_scene(file.write(tmp_path / "a.gltf")).lights
    assert isinstance(sun, DirectionalLight)
    torch.testing.assert_close(torch.as_tensor(sun.direction), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    assert float(sun.intensity) == 3
    assert isinstance(lamp, PointLight)
    assert torch.as_tensor(lamp.position).tolist() == [1, 2, 3]
    assert torch.as_tensor(lamp.color).tolist() == [1, 0, 0]
    assert float(lamp.range) == 7
    assert isinstance(spot, SpotLight)
    assert float(spot.outer) == pytest.approx(math.degrees(0.2))


def test_cameras(tmp_path: Path) -> None:
    """A point at 45 degrees above the axis is at the upper rim of a perspective camera of 90 degrees."""
    path = square(tmp_path)
    edited(
        path,
        cameras=[
            {"type": "perspective", "perspective": {"yfov": math.pi / 2, "znear": 0.5, "aspectRatio": 1}},
            {"type": "orthographic", "orthographic": {"xmag": 9, "ymag": 2, "znear": 1, "zfar": 8}},
        ],
        nodes=[{"mesh": 0}, {"camera": 0, "translation": [0, 0, 5]}, {"camera": 1}],
        scenes=[{"nodes": [0, 1, 2]}],
    )
    wide, flat = load_cameras(path, (40, 60))
    assert isinstance(wide, PerspectiveCamera)
    torch.testing.assert_close(wide.pixels(torch.tensor([[0.0, 3, 2]]))[0, :2], torch.tensor([30.0, 0.0]))
    assert isinstance(flat, OrthographicCamera)
    torch.testing.assert_close(flat.pixels(torch.tensor([[0.0, 2, -3]]))[0, :2], torch.tensor([30.0, 0.0]))
    assert (flat.near, flat.far) == (1, 8)
    (tmp_path / "a.obj").write_text("")
    with pytest.raises(ValueError, match=r"expected one of \.gltf"):
        load_cameras(tmp_path / "a.obj", (4, 4))


def test_draco(tmp_path: Path) -> None:
    draco = pytest.importorskip("DracoPy")
    data = draco.encode(SQUARE, faces=TWO.reshape(-1, 3).astype(np.uint32), quantization_bits=14)
    file = File()
    where = file.view(data)
    file.json["accessors"] = [
        {"componentType": 5126, "count": 4, "type": "VEC3"}, {"componentType": 5123, "count": 6, "type": "SCALAR"},
    ]  # fmt: skip
    packed = {"bufferView": where, "attributes": {"POSITION": 0}}
    primitive = {"attributes": {"POSITION": 0}, "indices": 1, "extensions": {"KHR_draco_mesh_compression": packed}}
    file.json["meshes"] = [{"primitives": [primitive]}]
    file.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    mesh = load_mesh(file.write(tmp_path / "a.gltf"))
    torch.testing.assert_close(mesh.face_normals(), torch.tensor([[0.0, 0, 4]] * 2), atol=1e-2, rtol=0)


def compressed(folder: Path, vertices: bytes, indices: bytes, fallback: bool) -> Path:
    """The square compressed by meshopt; with `fallback` also as it is, in a buffer of its own."""
    file = File()
    packed = [file.view(vertices), file.view(indices)]
    plain = SQUARE.tobytes() + TWO.tobytes()
    uri = {"uri": "data:;base64," + base64.b64encode(plain).decode()} if fallback else {}
    views = file.json["bufferViews"]
    file.json["bufferViews"] = [
        {"buffer": 1, "byteOffset": 48 * i, "byteLength": length, "extensions": {"EXT_meshopt_compression": extension}}
        for i, (length, extension) in enumerate(
            [
                (48, views[packed[0]] | {"byteStride": 12, "count": 4, "mode": "ATTRIBUTES"}),
                (12, views[packed[1]] | {"byteStride": 2, "count": 6, "mode": "TRIANGLES"}),
            ]
        )
    ]
    file.json["accessors"] = [
        {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
    ]
    file.json["meshes"] = [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}]
    path = file.write(folder / "a.gltf")
    return edited(path, buffers=[*json.loads(path.read_text())["buffers"], {"byteLength": len(plain), **uri}])


def test_meshopt(tmp_path: Path) -> None:
    library = pytest.importorskip("meshoptimizer")
    vertices = library.encode_vertex_buffer(SQUARE, 4, 12)
    indices = library.encode_index_buffer(TWO.astype(np.uint32), 6, 4)
    mesh = load_mesh(compressed(tmp_path, vertices, indices, fallback=False))
    assert mesh.positions[mesh.faces].tolist() == SQUARE[TWO.reshape(-1, 3)].tolist()


def test_meshopt_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meshoptimizer", None)
    mesh = load_mesh(compressed(tmp_path, b"?", b"?", fallback=True))
    assert mesh.positions[mesh.faces].tolist() == SQUARE[TWO.reshape(-1, 3)].tolist()
    with pytest.raises(ImportError, match=r"needs meshoptimizer: pip install 'lumigrad\[meshopt\]'"):
        load_mesh(compressed(tmp_path, b"?", b"?", fallback=False))


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    def fails(match: str, **more: Any) -> None:
        with pytest.raises(ValueError, match=match):
            load_mesh(edited(square(tmp_path), **more))

    fails(r"glTF 1\.0", asset={"version": "1.0"})
    fails(r"buffers\[0\] is 'gone\.bin', and there is no such file", buffers=[{"uri": "gone.bin", "byteLength": 1}])
    fails(r"buffers\[0\] is '\.\./x\.bin', outside", buffers=[{"uri": "../x.bin", "byteLength": 1}])
    fails(r"has 3 bytes of 1000: the file is cut short", buffers=[{"uri": "data:;base64,AAAA", "byteLength": 1000}])
    huge = {"componentType": 5126, "count": 4 * 10**9, "type": "VEC3"}
    fails(r"4000000000 elements, up to byte", accessors=[{"bufferView": 0, **huge}])
    fails(r"4000000000 elements and no data", accessors=[huge])
    fails(r"refers to meshes\[7\]; there are 1", nodes=[{"mesh": 7}])
    fails(r"among its own children", nodes=[{"mesh": 0, "children": [0]}])
    fails(r"meshes\[0\] is no object", meshes=["square"])
    fails(r"JSON has a value of another kind", nodes=[{"mesh": 0, "children": 5}])
    with pytest.raises(ValueError, match="indices up to 9 into 4 vertices"):
        load_mesh(square(tmp_path, index=np.array([0, 1, 9], np.uint16)))


def test_cut_short_binary_files(tmp_path: Path) -> None:
    path = square(tmp_path)
    text = path.read_bytes()
    text += b" " * (-len(text) % 4)
    whole = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text
    glb = tmp_path / "b.glb"
    glb.write_bytes(whole)
    assert len(load_mesh(glb).faces) == 2
    for length in (10, 19, 40, len(whole) - 1):
        glb.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"b\.glb .*cut short"):
            load_mesh(glb)
    glb.write_bytes(whole[:12] + struct.pack("<II", 2**32 - 1, 0x4E4F534A) + text)
    with pytest.raises(ValueError, match="cut short"):
        load_mesh(glb)
