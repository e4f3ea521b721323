"""Gaussians in compressed PLY, .splat, .spz and PLY of surfels: bytes made here by hand, and round trips."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import lumigrad as lg
from lumigrad.io import load_gaussians, load_points, save_gaussians
from lumigrad.scene import GaussianCloud, SurfelCloud
from lumigrad.scene.rotations import quaternion_to_matrix

C0 = 0.5 / math.sqrt(math.pi)


def cloud(coefficients: int = 1, count: int = 40, size: float = 1.0) -> GaussianCloud:
    random = torch.Generator().manual_seed(2)
    return GaussianCloud(
        size * torch.randn(count, 3, generator=random),
        torch.nn.functional.normalize(torch.randn(count, 4, generator=random), dim=-1),
        size * (0.01 + torch.rand(count, 3, generator=random)),
        torch.rand(count, generator=random),
        (torch.rand(count, coefficients, 3, generator=random) - 0.5),
    )


def rotations(one: GaussianCloud | SurfelCloud) -> torch.Tensor:
    return quaternion_to_matrix(one.quats)


# ---- .splat --------------------------------------------------------------------------------------------------------


def test_splat_by_hand(tmp_path: Path) -> None:
    rows = struct.pack("<6f8B", 1, -2, 3, 0.5, 0.25, 4, 255, 0, 51, 204, 128, 128, 255, 128)
    (tmp_path / "a.splat").write_bytes(rows + struct.pack("<6f8B", *[0] * 6, *[128] * 4, 255, 128, 128, 128))
    read = load_gaussians(tmp_path / "a.splat")
    assert read.means[0].tolist() == [1, -2, 3]
    assert read.scales[0].tolist() == [0.5, 0.25, 4]
    assert read.opacities[0].item() == pytest.approx(0.8)
    torch.testing.assert_close(0.5 + C0 * read.harmonics[0, 0], torch.tensor([1.0, 0.0, 0.2]))
    assert rotations(read)[0].diagonal().tolist() == pytest.approx([-1, 1, -1])  # half a turn about y
    torch.testing.assert_close(rotations(read)[1], torch.eye(3))


def test_splat_round_trip(tmp_path: Path) -> None:
    ours = cloud()
    save_gaussians(ours, tmp_path / "deep" / "a.splat")
    assert (tmp_path / "deep" / "a.splat").stat().st_size == 32 * 40
    again = load_gaussians(tmp_path / "deep" / "a.splat")
    assert torch.equal(again.means, ours.means)
    assert torch.equal(again.scales, ours.scales)
    assert (again.opacities - ours.opacities).abs().max() <= 0.5 / 255 + 1e-6
    assert (again.harmonics - ours.harmonics).abs().max() * C0 <= 0.5 / 255 + 1e-6
    assert (rotations(again) - rotations(ours)).abs().max() < 0.03
    with pytest.warns(UserWarning, match=r"a\.splat: \.splat files have no view-dependent colours"):
        save_gaussians(cloud(4), tmp_path / "a.splat")


# ---- .spz ----------------------------------------------------------------------------------------------------------


def spz(version: int, degree: int = 0, fraction: int = 8, **parts: bytes) -> bytes:
    """One Gaussian."""
    header = struct.pack("<4sIIBBBB", b"NGSP", version, 1, degree, fraction, 0, 0)
    order = ("positions", "alphas", "colors", "scales", "rotations", "harmonics")
    return gzip.compress(header + b"".join(parts.get(name, b"") for name in order))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_spz_by_hand(tmp_path: Path, version: int) -> None:
    if version == 1:
        positions = struct.pack("<3e", 1.5, -2.0, 0.25)
    else:  # 24 bits, little-endian, 8 of them behind the point
        positions = b"".join((int(256 * x) & 0xFFFFFF).to_bytes(3, "little") for x in (1.5, -2.0, 0.25))
    if version == 3:  # w is left out (3); x = -sqrt(1/2) * 256 / 511, y = 0, z = sqrt(1/2)
        rotation = (3 << 30 | (512 | 256) << 20 | 0 << 10 | 511).to_bytes(4, "little")
        x, y, z = -math.sqrt(0.5) * 256 / 511, 0.0, math.sqrt(0.5)
    else:
        rotation = bytes([64, 128, 200])
        x, y, z = (value / 127.5 - 1 for value in (64, 128, 200))
    content = spz(
        version, 1, positions=positions, alphas=b"\x33", colors=bytes([255, 0, 102]), scales=bytes([160, 144, 192]),
        rotations=rotation, harmonics=bytes([128, 0, 255, 192, 64, 128, 160, 96, 128]),
    )  # fmt: skip
    (tmp_path / "a.spz").write_bytes(content)
    read = load_gaussians(tmp_path / "a.spz")
    # From axes right, up, back to right, down, front.
    assert read.means[0].tolist() == [1.5, 2.0, -0.25]
    assert read.opacities[0].item() == pytest.approx(0.2)
    torch.testing.assert_close(read.scales[0], torch.tensor([1.0, math.exp(-1), math.exp(2)]))
    torch.testing.assert_close(read.harmonics[0, 0] * 0.15 + 0.5, torch.tensor([1.0, 0, 0.4]))
    w = math.sqrt(1 - x * x - y * y - z * z)
    flip = torch.diag(torch.tensor([1.0, -1, -1]))
    expected = flip @ quaternion_to_matrix(torch.tensor([[w, x, y, z]])) @ flip
    torch.testing.assert_close(rotations(read), expected)
    # Coefficients belong to y, z, x: the first two change their sign with y and z.
    stored = torch.tensor([[0, -1, 127 / 128], [0.5, -0.5, 0], [0.25, -0.25, 0]])
    torch.testing.assert_close(read.harmonics[0, 1:], stored * torch.tensor([[-1.0], [-1], [1]]))


def spz_of_streams(path: Path) -> bytes:
    """Version 4 of a file of version 3: a header of 32 bytes, a table of sizes, streams of Zstandard."""
    zstandard = pytest.importorskip("zstandard")
    content = gzip.decompress(path.read_bytes())
    _, _, count, degree, fraction, _, _ = struct.unpack_from("<4sIIBBBB", content)
    place, streams = 16, []
    for width in (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)):
        if width:
            streams.append(content[place : place + count * width])
            place += count * width
    packed = [zstandard.ZstdCompressor().compress(stream) for stream in streams]
    table = b"".join(struct.pack("<QQ", len(p), len(s)) for p, s in zip(packed, streams))
    header = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, count, degree, fraction, 0, len(streams), 32)
    return header + table + b"".join(packed)


@pytest.mark.parametrize("coefficients", [1, 9])
def test_spz_of_streams(tmp_path: Path, coefficients: int) -> None:
    save_gaussians(cloud(coefficients), tmp_path / "a.spz")
    whole = spz_of_streams(tmp_path / "a.spz")
    (tmp_path / "b.spz").write_bytes(whole)
    before, after = load_gaussians(tmp_path / "a.spz"), load_gaussians(tmp_path / "b.spz")
    for name in ("means", "quats", "scales", "opacities", "harmonics"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    extended = bytearray(whole)
    extended[14] = 2
    (tmp_path / "b.spz").write_bytes(extended)
    with pytest.warns(UserWarning, match=r"b\.spz: its extensions are not read"):
        load_gaussians(tmp_path / "b.spz")


def test_spz_of_streams_damaged(tmp_path: Path) -> None:
    save_gaussians(cloud(), tmp_path / "a.spz")
    whole = spz_of_streams(tmp_path / "a.spz")
    claims = bytearray(whole)
    claims[8:12] = struct.pack("<I", 2**31)
    for content in (whole[:20], whole[:60], whole[:-5], bytes(claims), whole[:32] + bytes(len(whole) - 32)):
        (tmp_path / "b.spz").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.spz as Gaussians"):
            load_gaussians(tmp_path / "b.spz")


def test_spz_that_is_not_compressed(tmp_path: Path) -> None:
    save_gaussians(cloud(), tmp_path / "a.spz")
    (tmp_path / "b.spz").write_bytes(gzip.decompress((tmp_path / "a.spz").read_bytes()))
    assert torch.equal(load_gaussians(tmp_path / "b.spz").quats, load_gaussians(tmp_path / "a.spz").quats)


def test_spz_turns_harmonics_with_the_scene(tmp_path: Path) -> None:
    """Colours seen along a direction are those along the turned one of what the file holds."""
    ours = cloud(25, 3)
    save_gaussians(ours, tmp_path / "a.spz")
    content = gzip.decompress((tmp_path / "a.spz").read_bytes())
    stored = torch.frombuffer(bytearray(content[-3 * 72 :]), dtype=torch.uint8).float().reshape(3, 24, 3)
    stored = torch.cat([ours.harmonics[:, :1], (stored - 128) / 128], dim=1)
    directions = torch.nn.functional.normalize(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)), dim=-1)
    turned = directions * torch.tensor([1.0, -1, -1])
    for k in (4, 9, 16, 25):
        seen = lg.spherical_harmonics(ours.harmonics[:, :k].contiguous(), directions)
        held = lg.spherical_harmonics(stored[:, :k].contiguous(), turned)
        torch.testing.assert_close(held, seen, atol=0.03, rtol=0)
        assert not torch.allclose(lg.spherical_harmonics(stored[:, :k].contiguous(), directions), seen, atol=0.1)


@pytest.mark.parametrize("size", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("coefficients", [1, 4, 9, 16, 25])
def test_spz_round_trip(tmp_path: Path, coefficients: int, size: float) -> None:
    ours = cloud(coefficients, size=size)
    if size == 1e3:
        ours = GaussianCloud(ours.means, ours.quats, ours.scales / 10, ours.opacities, ours.harmonics)
    save_gaussians(ours, tmp_path / "a.spz")
    again = load_gaussians(tmp_path / "a.spz")
    assert (again.means - ours.means).abs().max() < 1e-6 * float(ours.means.abs().max())
    assert (again.scales / ours.scales).log().abs().max() <= 0.5 / 16 + 1e-5
    assert (again.opacities - ours.opacities).abs().max() <= 0.5 / 255 + 1e-6
    assert (again.harmonics[:, 0] - ours.harmonics[:, 0]).abs().max() <= 0.5 / 255 / 0.15 + 1e-5
    assert coefficients == 1 or (again.harmonics - ours.harmonics)[:, 1:].abs().max() <= 0.5 / 128 + 1e-6
    assert (rotations(again) - rotations(ours)).abs().max() < 6e-3


def test_spz_says_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="40 of 40 Gaussians have scales outside of"):
        save_gaussians(cloud(size=1e-6), tmp_path / "a.spz")
    with pytest.raises(ValueError, match="means: expected coordinates below 8388608"):
        save_gaussians(cloud(size=1e9), tmp_path / "a.spz")


# ---- Compressed PLY ------------------------------------------------------------------------------------------------

LIMITS = [f"{side}_{kind}{axis}" for kind in ("", "scale_") for side in ("min", "max") for axis in "xyz"]
LIMITS += [f"{side}_{channel}" for side in ("min", "max") for channel in "rgb"]


def compressed(path: Path, count: int, limits: np.ndarray, packed: np.ndarray, rest: np.ndarray | None = None) -> None:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {len(limits)}"]
    lines += [f"property float {name}" for name in LIMITS[: limits.shape[1]]] + [f"element vertex {count}"]
    lines += [f"property uint packed_{name}" for name in ("position", "rotation", "scale", "color")]
    if rest is not None:
        lines += [f"element sh {count}"] + [f"property uchar f_rest_{i}" for i in range(rest.shape[1])]
    data = limits.astype("<f4").tobytes() + packed.astype("<u4").tobytes()
    data += b"" if rest is None else rest.astype("u1").tobytes()
    path.write_bytes("\n".join([*lines, "end_header", ""]).encode() + data)


def test_compressed_ply(tmp_path: Path) -> None:
    """257 Gaussians in two chunks; the last one is the only one of the second."""
    limits = np.zeros((2, 18))
    limits[1] = [1, 2, 3, 5, 4, 11, 0, -1, -2, 1, 1, 2, 0, 0, -0.5, 1, 2, 0.5]
    packed = np.zeros((257, 4), np.uint32)
    packed[:, 1] = 512 << 20 | 512 << 10 | 512
    last = packed[256]
    last[0] = 2047 << 21 | 341 << 11 | 0  # x at its largest, y at a third, z at its smallest
    last[2] = 0 << 21 | 1023 << 11 | 2047
    last[1] = 2 << 30 | 768 << 20 | 256 << 10 | 512  # w, x and z; y is left out
    last[3] = 255 << 24 | 51 << 16 | 0 << 8 | 102
    rest = np.full((257, 9), 128)
    rest[256] = [0, 255, 128, 64, 192, 1, 2, 3, 4]
    compressed(tmp_path / "a.ply", 257, limits, packed, rest)
    read = load_gaussians(tmp_path / "a.ply")
    assert len(read) == 257
    torch.testing.assert_close(read.means[256], torch.tensor([5.0, 2 + 2 * 341 / 1023, 3]))
    torch.testing.assert_close(read.scales[256].log(), torch.tensor([0.0, 1, 2]), atol=1e-5, rtol=0)
    w, x, z = ((value / 1023 - 0.5) * math.sqrt(2) for value in (768, 256, 512))
    expected = torch.tensor([w, x, math.sqrt(1 - w * w - x * x - z * z), z])
    torch.testing.assert_close(read.quats[256], expected)
    torch.testing.assert_close(0.5 + C0 * read.harmonics[256, 0], torch.tensor([1.0, 0.4, -0.5]))
    assert read.opacities[256].item() == pytest.approx(0.4)
    assert read.harmonics[256, :, 0].tolist()[1:] == pytest.approx([-4, 4, 128.5 / 256 * 8 - 4])  # red comes first
    assert read.harmonics[256, 1:, 2].tolist() == pytest.approx([(v + 0.5) / 32 - 4 for v in (2, 3, 4)])
    assert read.means[0].tolist() == [0, 0, 0]
    compressed(tmp_path / "a.ply", 257, limits[:1], packed)
    with pytest.raises(ValueError, match=r"a\.ply as Gaussians: its chunks lack rows"):
        load_gaussians(tmp_path / "a.ply")
    compressed(tmp_path / "a.ply", 257, limits[:, :12], packed)  # the first version had no limits of colours
    torch.testing.assert_close(
        0.5 + C0 * load_gaussians(tmp_path / "a.ply").harmonics[256, 0], torch.tensor([1.0, 0.2, 0])
    )


# ---- Surfels, points, mistakes -------------------------------------------------------------------------------------


def test_surfels(tmp_path: Path) -> None:
    one = cloud(4)
    ours = SurfelCloud(one.means, one.quats, one.scales[:, :2].contiguous(), one.opacities, one.harmonics)
    save_gaussians(ours, tmp_path / "a.ply")
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0]
    assert b"scale_1" in header
    assert b"scale_2" not in header
    again = load_gaussians(tmp_path / "a.ply")
    assert isinstance(again, SurfelCloud)
    for name, value in vars(ours).items():
        torch.testing.assert_close(getattr(again, name), value, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"a\.spz: surfels can be written to \.ply alone"):
        save_gaussians(ours, tmp_path / "a.spz")


def test_centers_as_points(tmp_path: Path) -> None:
    ours = cloud(4)
    save_gaussians(ours, tmp_path / "a.ply")
    points = load_points(tmp_path / "a.ply")
    assert torch.equal(points.positions, ours.means)
    torch.testing.assert_close(points.opacities, ours.opacities)
    torch.testing.assert_close(points.colors, (0.5 + C0 * ours.harmonics[:, 0]).clamp_min(0))
    assert points.normals is None


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.spz"):
        load_gaussians(tmp_path / "none.spz")
    (tmp_path / "a.ksplat").write_bytes(b"123")
    with pytest.raises(ValueError, match=r"a\.ksplat: expected \.ply, \.splat, \.spz"):
        load_gaussians(tmp_path / "a.ksplat")
    (tmp_path / "a.splat").write_bytes(b"1" * 33)
    with pytest.raises(ValueError, match="expected a multiple of 32 bytes, got 33"):
        load_gaussians(tmp_path / "a.splat")
    path = tmp_path / "a.spz"
    save_gaussians(cloud(4), path)
    whole = path.read_bytes()
    for content in (b"", whole[:9], whole[:-9], b"rubbish", gzip.compress(gzip.decompress(whole)[:-1])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read .*a\.spz as Gaussians"):
            load_gaussians(path)
    path.write_bytes(spz(9))
    with pytest.raises(ValueError, match=r"expected spz version 1, 2, 3 or 4 .* got version 9"):
        load_gaussians(path)
    path.write_bytes(b"NGSP" + bytes(60))
    with pytest.raises(ValueError, match=r"expected spz version 1, 2, 3 or 4 .* got version 0"):
        load_gaussians(path)
