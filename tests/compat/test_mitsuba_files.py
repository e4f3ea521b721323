"""Mitsuba's scenes as they are found in files: spectra, old words, its own meshes. Numbers are Mitsuba 3.9.1's."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lumigrad.compat import mitsuba as mi
from lumigrad.scene import OrthographicCamera, icosphere


def light(intensity: Any) -> torch.Tensor:
    return mi.traverse(mi.load_dict({"type": "point", "intensity": intensity}))["intensity.value"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("400:0, 500:8, 600:15.6, 700:18.4", [20.7108, 10.8546, 2.77115]),
        ("400:1, 700:1", [1.1996936, 0.94952035, 0.90344334]),
        ("2", [2.40959, 1.89658, 1.81783]),  # light of the same power at all wavelengths is not white
    ],
)
def test_spectra_of_lights(tmp_path: Path, value: str, expected: list[float]) -> None:
    (tmp_path / "s.spd").write_text("# nm, power\n" + value.replace(":", " ").replace(", ", "\n"))
    said = [f'value="{value}"', *(['filename="s.spd"'] if ":" in value else [])]
    for how in said:
        text = f'<emitter version="3.0.0" type="point"><spectrum name="intensity" {how}/></emitter>'
        (tmp_path / "a.xml").write_text(text)
        found = mi.traverse(mi.load_file(tmp_path / "a.xml"))["intensity.value"]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=2e-3, atol=1e-3)


def test_colours_of_lights_that_are_no_spectra() -> None:
    for white in (2.0, {"type": "uniform", "value": 2.0}, {"type": "d65", "scale": 2.0}, {"type": "rgb", "value": 2.0}):
        assert light(white).expand(3).tolist() == [2, 2, 2]
    strength = torch.tensor(2.0, requires_grad=True)
    light({"type": "spectrum", "value": strength}).sum().backward()
    white = torch.tensor(1.20488 + 0.948228 + 0.909267)  # Mitsuba adds tables of 5 nm, not of 10
    torch.testing.assert_close(strength.grad, white, rtol=1e-3, atol=0.0)


def test_spectra_of_materials() -> None:
    def found(kind: str, name: str, value: Any) -> torch.Tensor:
        parts = {"type": kind, name: {"type": "spectrum", "value": value}}
        return mi.traverse(mi.load_dict({**parts, "k": 1.0} if name == "eta" else parts))[f"{name}.value"]

    red = [(400, 0.1), (500, 0.2), (600, 0.9), (700, 0.9)]
    with pytest.warns(
        mi.MitsubaWarning, match=r"reflectance\.value: the colour .* is brought to the range from 0 to 1"
    ):
        assert found("diffuse", "reflectance", [(x, 4 * y) for x, y in red])[0] == 1
    expected = torch.tensor([0.995342, 0.999756, 0.994909])
    torch.testing.assert_close(found("diffuse", "reflectance", [(400, 1), (700, 1)]), expected, rtol=2e-3, atol=0.0)
    expected = torch.tensor([2.69924, 2.21432, 1.69643])  # an index may be above 1
    torch.testing.assert_close(found("conductor", "eta", [(400, 1.5), (700, 3)]), expected, rtol=2e-3, atol=0.0)
    assert found("diffuse", "reflectance", 0.25).item() == 0.25
    with pytest.raises(ValueError, match=r"reflectance\.value: expected one number, or pairs of ascending wavelengths"):
        found("diffuse", "reflectance", [(500, 1), (400, 1)])


def test_old_scenes() -> None:
    text = """<scene version="0.5.0">
      <integrator type="path"><integer name="maxDepth" value="3"/>
        <boolean name="strictNormals" value="false"/></integrator>
      <sensor type="perspective">
        <float name="fov" value="40"/><float name="nearClip" value="0.5"/><float name="focusDistance" value="7"/>
        <transform name="toWorld"><lookAt origin="0,0,5" target="0,0,0" up="0,1,0"/></transform>
        <sampler type="sobol"><integer name="sampleCount" value="4"/><integer name="dimension" value="4"/></sampler>
        <film type="ldrfilm"><integer name="width" value="8"/><boolean name="banner" value="true"/>
          <float name="gamma" value="2.2"/><rfilter type="mitchell"><float name="B" value="0.4"/></rfilter></film>
      </sensor>
      <shape type="rectangle" id="a"><bsdf type="diffuse"><texture name="reflectance" type="checkerboard">
        <float name="uscale" value="3"/><float name="voffset" value="0.25"/></texture></bsdf></shape>
      <shape type="sphere" id="b"><bsdf type="roughplastic"><float name="intIOR" value="1.5"/>
        <float name="extIOR" value="1"/><srgb name="diffuseReflectance" value="#ff8000"/></bsdf></shape>
      <shape type="sphere" id="c"><bsdf type="diffuse">
        <spectrum name="reflectance" value="0.1, 0.2, 0.3"/></bsdf></shape>
    </scene>"""
    with pytest.warns(mi.MitsubaWarning) as said:
        loaded = mi.load_string(text)
    assert {"<film>: gamma is left out: images are linear"} < {str(one.message) for one in said}
    params = mi.traverse(loaded)
    assert params["b.bsdf.eta"] == 1.5
    torch.testing.assert_close(params["b.bsdf.diffuse_reflectance.value"], torch.tensor([1, 0.2158605, 0]))
    assert params["c.bsdf.reflectance.value"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert params["a.bsdf.reflectance.to_uv"].tolist() == [[3, 0, 0], [0, 1, 0.25], [0, 0, 1]]
    (sensor,) = loaded.sensors()  # type: ignore[attr-defined]
    assert sensor.values["to_world"][:3, 3].tolist() == [0, 0, 5]
    assert sensor.children["film"].children["rfilter"].options == {"A": 1 / 3, "B": 0.4}


@pytest.mark.parametrize("filter_type", ["checkerboard", "nearest"])
def test_textures_with_sharp_edges(filter_type: str) -> None:
    """Seen from above, cell by cell: (0, 0) of the texture is the corner of the rectangle at (-1, -1)."""
    first, second = [0.9, 0.1, 0.1], [0.1, 0.2, 0.8]
    cells = torch.tensor([[first, second], [second, first]])
    texture: dict[str, Any] = {"type": "bitmap", "data": cells, "raw": True, "filter_type": "nearest"}
    if filter_type == "checkerboard":
        colors = {f"color{i}": {"type": "rgb", "value": value} for i, value in enumerate((first, second))}
        texture = {"type": "checkerboard", **colors}
    film = {"type": "hdrfilm", "width": 8, "height": 8, "rfilter": {"type": "box"}}
    placed = mi.ScalarTransform4f().look_at([0, 0, 3], [0, 0, 0], [0, 1, 0])
    wall = {"type": "rectangle", "emitter": {"type": "area", "radiance": texture}}
    loaded = mi.load_dict({
        "type": "scene", "wall": wall, "path": {"type": "path", "max_depth": 1},
        "camera": {"type": "orthographic", "to_world": placed, "film": film},
    })  # fmt: skip
    assert isinstance(loaded, mi.Scene)
    image = mi.render(loaded, spp=4)
    expected = cells.flip(0).repeat_interleave(4, 0).repeat_interleave(4, 1)
    inside = torch.tensor([1, 2, 5, 6])  # pixels that no edge touches
    torch.testing.assert_close(image[inside][:, inside], expected[inside][:, inside], atol=1e-5, rtol=0.0)


def test_orthographic_sensors() -> None:
    """The film of an orthographic sensor is two units wide; `to_world` may scale it."""
    shape = mi.ScalarTransform4f().look_at([2, 1, 3], [0, 0, 0], [0, 1, 0]).scale([1.5, 2, 1])
    film = {"type": "hdrfilm", "width": 48, "height": 32, "crop_offset_x": 5, "crop_width": 40}
    sensor = mi.load_dict({"type": "orthographic", "to_world": shape, "film": film})
    camera = mi.to_camera(sensor)
    assert isinstance(camera, OrthographicCamera)
    corner = shape @ [1.0, 2 / 3, 4.0]  # the left end of the film's upper edge, as x points to the left
    torch.testing.assert_close(camera.pixels(corner[None]), torch.tensor([[-5.0, 0.0]]), atol=1e-4, rtol=0.0)


def test_names_at_the_top_level() -> None:
    """Samplers and filters may be named there, too; what is not said is a lens of 50 mm."""
    text = """<scene version="3.0.0"><sampler type="independent" id="s"/><rfilter type="box" id="f"/>
      <sensor type="perspective"><ref id="s"/><film type="hdrfilm"><ref id="f"/></film></sensor></scene>"""
    (sensor,) = mi.load_string(text).sensors()  # type: ignore[attr-defined]
    assert sensor.children["film"].children["rfilter"].kind == "box"
    assert abs(float(sensor.values["x_fov"]) - 38.18484) < 1e-4


def serialized(folder: Path, version: int, double: bool) -> Path:
    """Two meshes: a triangle, and a ball with normals, texture coordinates and colours."""
    ball = icosphere(1)
    kind, data, starts = np.float64 if double else np.float32, b"", []
    for mesh in (None, ball):
        positions = np.eye(3) if mesh is None else mesh.positions.numpy()
        faces = np.array([[0, 1, 2]]) if mesh is None else mesh.faces.numpy()
        flags = (0x2000 if double else 0x1000) | (0 if mesh is None else 0x000B)
        body = struct.pack("<I", flags) + (b"name\0" if version == 4 else b"")
        body += struct.pack("<QQ", len(positions), len(faces)) + positions.astype(kind).tobytes()
        if mesh is not None:
            body += positions.astype(kind).tobytes() + positions[:, :2].astype(kind).tobytes()
            body += np.ones((len(positions), 3), kind).tobytes()
        starts.append(len(data))
        data += struct.pack("<HH", 0x041C, version) + zlib.compress(body + faces.astype("<u4").tobytes())
    data += b"".join(struct.pack("<Q" if version == 4 else "<I", start) for start in starts) + struct.pack("<I", 2)
    (folder / "a.serialized").write_bytes(data)
    return folder / "a.serialized"


@pytest.mark.parametrize(("version", "double"), [(3, False), (4, False), (4, True)])
def test_serialized_meshes(tmp_path: Path, version: int, double: bool) -> None:
    name, ball = str(serialized(tmp_path, version, double)), icosphere(1)
    found = mi.traverse(mi.load_dict({"type": "serialized", "filename": name}))
    assert found["vertex_positions"].tolist() == torch.eye(3).reshape(-1).tolist()
    assert "vertex_texcoords" not in list(found)
    found = mi.traverse(mi.load_dict({"type": "serialized", "filename": name, "shape_index": 1}))
    torch.testing.assert_close(found["vertex_positions"].reshape(-1, 3), ball.positions)
    torch.testing.assert_close(found["vertex_normals"].reshape(-1, 3), ball.positions)
    assert torch.equal(found["faces"].reshape(-1, 3), ball.faces)
    assert set(found["vertex_texcoords"].tolist()) == set(ball.positions[:, :2].reshape(-1).tolist())


def test_serialized_files_that_are_damaged(tmp_path: Path) -> None:
    path = serialized(tmp_path, 4, False)
    data = path.read_bytes()

    def wrong(match: str, changed: bytes, index: int = 1) -> None:
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=rf"cannot read .*a\.serialized as a serialized mesh: {match}"):
            mi.load_dict({"type": "serialized", "filename": str(path), "shape_index": index})

    wrong("shape_index: expected one of its 2 meshes, got 2", data, 2)
    wrong("it does not begin as such a file does", b"PK" + data[2:])
    wrong("expected version 3 or 4 of the format, got 7", data[:2] + b"\7\0" + data[4:])
    wrong("Error", data[:4] + b"\0" * 20 + data[24:], 0)
    wrong("it is cut short, or its list of meshes is damaged", data[:40] + struct.pack("<I", 9), 0)
