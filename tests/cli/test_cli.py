"""The command line, in process, on tiny jobs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ops_common import SOURCE

import lumigrad as lg
from lumigrad.cli import main
from lumigrad.fit.mesh.loop import _Leg
from lumigrad.io import load_image, load_mesh, save_image, save_mesh
from lumigrad.render.color import srgb_encode
from lumigrad.scene import PBRMaterial
from lumigrad.scene.shapes.procedural import creature, icosphere

TINY = ["--size", "32", "--views", "6", "--test-views", "2", "--texture-size", "64", "--effort", "0.04"]
TINY += ["--detail", "0.3", "--frames", "2"]


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "creature.glb"
    save_mesh(creature(level=2, texture_height=32), path)
    return path


def check_results(folder: Path) -> dict:
    names = {"metrics.json", "mesh.glb", "comparison.png", "loss.png", "turntable.gif", "state.pt"}
    assert names <= {path.name for path in folder.iterdir()}
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("psnr_db", "psnr_mask_db", "chamfer", "seconds", "seconds_per_iteration"):
        assert metrics[key] > 0
    mesh = load_mesh(folder / "mesh.glb")
    assert mesh.texture is not None
    assert mesh.texture.shape == (64, 64, 3)
    return metrics


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "a" / "b"), *TINY]) == 0
    check_results(tmp_path / "a" / "b")
    assert "held-back views" in capsys.readouterr().out


def test_fit_interrupted_and_resumed(
    mesh_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", str(mesh_file), *TINY, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    whole = check_results(tmp_path / "whole")

    step, calls = _Leg.step, []

    def interrupted(self: _Leg, *arguments: object) -> float:
        calls.append(1)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_Leg, "step", interrupted)
    part = tmp_path / "part"
    assert main([*command, str(part)]) == 130
    assert "--resume" in capsys.readouterr().err
    assert torch.load(part / "state.pt", weights_only=True)["state"]["iteration"] == 12
    assert not (part / "metrics.json").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    assert main([*command, str(part), "--resume", "--seed", "1"]) == 2
    assert "seed was 0, now 1" in capsys.readouterr().err
    assert main([*command, str(part), "--resume"]) == 0
    resumed = check_results(part)
    for key in ("iterations", "psnr_db", "chamfer", "vertices"):
        assert resumed[key] == whole[key]


def test_fit_from_a_perturbed_copy(mesh_file: Path, tmp_path: Path) -> None:
    assert main(["fit", str(mesh_file), "--start", "perturbed", *TINY, "--out", str(tmp_path)]) == 0
    assert check_results(tmp_path)["faces"] == 320


def test_result_lies_where_the_input_lay(tmp_path: Path) -> None:
    mesh = creature(level=2, texture_height=32)
    moved = type(mesh)(5 * mesh.positions + 20, mesh.faces, mesh.uvs, mesh.uv_faces, mesh.texture)
    save_mesh(moved, tmp_path / "moved.glb")
    assert main(["fit", str(tmp_path / "moved.glb"), *TINY, "--effort", "0.1", "--out", str(tmp_path / "out")]) == 0
    for ours, theirs in zip(load_mesh(tmp_path / "out" / "mesh.glb").bounds(), moved.bounds(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=3.0, rtol=0)


def test_render(mesh_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.png"
    view = ["--azimuth", "0", "--elevation", "0", "--size", "40x30", "--background", "#ff0000"]
    assert main(["render", str(mesh_file), "-o", str(output), *view]) == 0
    image = load_image(output)
    assert image.shape == (30, 40, 3)
    torch.testing.assert_close(image[0, 0], torch.tensor([1.0, 0.0, 0.0]))
    assert not torch.allclose(image[15, 20], image[0, 0])
    assert main(["render", str(mesh_file), "-o", str(output), "--size", "24", "--background", "transparent"]) == 0
    image = load_image(output)
    assert image.shape == (24, 24, 4)
    assert image[0, 0, 3] == 0
    assert image[12, 12, 3] == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--shading", "pbr", "--supersampling", "2"],
        ["--shading", "pbr", "--environment", "sky", "--show-environment"],
        ["--shading", "phong", "--light", "1,2,3", "--light=-1,0,0,0.5"],
        ["--shading", "pbr", "--light", "1,2,3,2", "--background", "transparent"],
        ["--shading", "flat"],
        ["--shading", "normals", "--background", "transparent"],
        ["--shading", "depth", "--background", "black"],
        ["--shading", "pbr", "--environment", "IMAGE"],
    ],
)
def test_render_shading(options: list[str], mesh_file: Path, tmp_path: Path) -> None:
    save_image(torch.rand(8, 16, 3), tmp_path / "around.png")
    output = tmp_path / "out.png"
    options = [str(tmp_path / "around.png") if option == "IMAGE" else option for option in options]
    assert main(["render", str(mesh_file), "-o", str(output), "--size", "20x24", *options]) == 0
    image = load_image(output)
    assert image.shape == (24, 20, 4 if "transparent" in options else 3)
    inside, corner = image[12, 10, :3], image[0, 0, :3]
    assert inside.max() > 0.1
    assert "transparent" in options or not torch.allclose(inside, corner, atol=0.01)


def test_render_uses_the_materials_of_the_file(tmp_path: Path) -> None:
    green = PBRMaterial(base_color=torch.tensor([0.0, 1.0, 0.0]), emissive=torch.tensor([0.0, 0.0, 0.5]))
    save_mesh(replace(icosphere(2), materials=(green,)), tmp_path / "ball.glb")
    for shading, blue in (("unlit", 0.0), ("pbr", srgb_encode(torch.tensor(0.5)))):
        output = tmp_path / f"{shading}.png"
        command = ["render", str(tmp_path / "ball.glb"), "-o", str(output), "--size", "16", "--shading", shading]
        assert main(command) == 0
        pixel = load_image(output)[8, 8]
        assert pixel[1] > 0.5
        assert pixel[2] >= blue - 0.01
        assert pixel[0] < 0.5


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    for word in ("lumigrad", "python", "torch", "numpy", "threads", "load", "idle threads", "instruction set", "cuda"):
        assert word in output
    assert "an image and its gradients are right" in output


def test_doctor_reports_what_matters_and_nothing_private(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(SOURCE.parent))
    monkeypatch.setenv("USERPROFILE", str(SOURCE.parent))
    monkeypatch.setenv("LUMIGRAD_CACHE_MB", "77")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(SOURCE / "libraries"))
    monkeypatch.setenv("PYTHONPATH", f"/other{SOURCE.parent}")  # a folder of another place
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    assert main(["doctor", "--report"]) == 0
    output = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[0] == "```text"
    assert lines[-1] == "```"
    assert [line for line in lines if line.startswith("[")] == [
        f"[{heading}]" for heading in ("lumigrad", "machine", "python", "torch", "packages", "environment")
    ]
    assert any(line.startswith(f"torch {torch.__version__}, built for") for line in lines)
    assert "LUMIGRAD_CACHE_MB 77" in lines
    assert f"PYTHONPATH /other{SOURCE.parent}" in lines
    assert f"LD_LIBRARY_PATH ~{os.sep}{SOURCE.name}{os.sep}libraries" in lines
    assert str(SOURCE.parent) not in output.replace(f"/other{SOURCE.parent}", "")
    assert "hidden" not in output


def test_doctor_finds_kernels_that_are_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def brighter(*arguments: object) -> torch.Tensor:
        return right(*arguments) + 0.01

    right = lg.interpolate
    monkeypatch.setattr(lg, "interpolate", brighter)
    assert main(["doctor"]) == 1
    assert "FAILED: of a triangle, the image on cpu, gradients" in capsys.readouterr().out
    monkeypatch.setattr(lg, "interpolate", lambda *arguments: 1 / 0)
    assert main(["doctor", "--report"]) == 1
    assert "FAILED: ZeroDivisionError: division by zero" in capsys.readouterr().out


def test_a_command_imports_only_what_it_needs() -> None:
    code = "import sys; from lumigrad.cli import main; main(['doctor']); print(*sys.modules, file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "an image and its gradients are right" in run.stdout
    imported = set(run.stderr.split())
    assert "lumigrad.cli.doctor" in imported
    assert not imported & {"lumigrad.cli.render", "lumigrad.fit", "lumigrad.io"}


@pytest.mark.parametrize("command", [["doctor"], ["render", "none.obj", "-o", "a.png"]])
def test_an_installation_that_does_not_load(command: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "LUMIGRAD_NATIVE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "lumigrad", *command], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    fault = "lumigrad's compiled core is not at "
    if command == ["doctor"]:
        assert f"FAILED: CoreNotFoundError: {fault}" in run.stdout
        assert torch.__version__ in run.stdout
        assert run.stderr == ""
    else:
        assert run.stdout == ""
        assert run.stderr.startswith(f"lumigrad: error: {fault}")
        assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "none.obj"], "no such mesh: none.obj"),
        (["render", "none.obj", "-o", "a.png"], "no such mesh: none.obj"),
        (["fit", "MESH", "--texture", "none.png"], "no such image: none.png"),
        (["fit", "MESH", "--texture", "MESH"], "as an image"),
        (["fit", "MESH", "--resume"], "no state to resume from"),
        (["render", "MESH", "-o", "a.abc"], "unknown image format"),
        (["render", "MESH", "-o", "a.png", "--distance", "0"], "--distance"),
        (["render", "MESH", "-o", "a.png", "--environment", "none.png", "--shading", "pbr"], "no such image"),
        (["render", "MESH", "-o", "a.png", "--light", "0,0,1"], "--shading"),
        (["fit", "flat.obj"], "no extent"),
        (["fit", "plain.obj", "--texture", "MESH"], "no texture coordinates"),
        (["fit", "MESH", "--out", "flat.obj/x"], "cannot create"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str],
    message: str,
    mesh_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flat.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    Path("plain.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert main([str(mesh_file) if a == "MESH" else a for a in arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("lumigrad: error: ")
    assert "\n" not in error


@pytest.mark.parametrize("command", [["fit", "MESH", *TINY, "--resume"], ["fit", "MESH", *TINY]])
def test_a_folder_that_cannot_be_written_to(
    command: list[str], mesh_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def read_only(**options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    command = [str(mesh_file) if part == "MESH" else part for part in command]
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err.strip() == f"lumigrad: error: --out: cannot write to {tmp_path}: Read-only file system"
    )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_an_interrupt_while_torch_is_loaded() -> None:
    """Ctrl-C ends the program before it has begun, without a traceback."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    program = subprocess.Popen(
        [sys.executable, "-m", "lumigrad", "doctor"],
        env=environment,
        stderr=subprocess.PIPE,
        # A job in the background of a script is started with interrupts ignored, and so would be what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 60
    while "libtorch" not in Path(f"/proc/{program.pid}/maps").read_text() and time.monotonic() < end:
        time.sleep(0.001)
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=60)[1] == b""
    assert program.returncode == -signal.SIGINT


def test_resume_with_a_damaged_state(mesh_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state.pt").write_bytes(b"rubbish")
    assert main(["fit", str(mesh_file), *TINY, "--out", str(tmp_path), "--resume"]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["fit"],
        ["fit", "a.obj", "--size", "3"],
        ["demo", "--views", "many"],
        ["render", "a.obj", "-o", "b.png", "--size", "1x2x3"],
        ["render", "a.obj", "-o", "b.png", "--background", "no such colour"],
        ["render", "a.obj", "-o", "b.png", "--shading", "cel"],
        ["render", "a.obj", "-o", "b.png", "--light", "0,0,0"],
        ["render", "a.obj", "-o", "b.png", "--light", "up"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage" in capsys.readouterr().err
