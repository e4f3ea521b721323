"""Materials: what they accept, refuse, and how they move."""

from __future__ import annotations

import pytest
import torch

from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial


def test_colours_may_be_numbers_and_keep_gradients() -> None:
    color = torch.ones(4, requires_grad=True)
    assert PBRMaterial(base_color=color).base_color is color
    assert PBRMaterial(base_color=(0.5, 0.25, 1.0)).base_color.tolist() == [0.5, 0.25, 1.0]  # type: ignore[arg-type]
    assert PhongMaterial(name="skin", shininess=torch.tensor(3.0)).name == "skin"


def test_to_converts_every_tensor_and_nothing_else() -> None:
    material = PBRMaterial(
        base_color_texture=torch.rand(2, 3, 4), roughness=torch.tensor(0.5), name="a", alpha_mode="blend"
    )
    moved = material.to(torch.float64)
    assert isinstance(moved, PBRMaterial)
    assert (moved.name, moved.alpha_mode, moved.metallic) == ("a", "blend", 0.0)
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 5
    assert all(value.dtype == torch.float64 for value in tensors)
    assert material.base_color.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        (Material, {"alpha_mode": "glass"}, ValueError, "alpha_mode"),
        (PBRMaterial, {"base_color": torch.ones(2)}, ValueError, "base_color"),
        (PBRMaterial, {"base_color": torch.ones(3, dtype=torch.int64)}, ValueError, "base_color"),
        (PBRMaterial, {"base_color": "red"}, TypeError, "base_color"),
        (PBRMaterial, {"metallic": 1.5}, ValueError, "metallic"),
        (PBRMaterial, {"roughness": torch.ones(2)}, ValueError, "roughness"),
        (PBRMaterial, {"roughness": None}, TypeError, "roughness"),
        (PBRMaterial, {"normal_texture": torch.ones(4, 4)}, ValueError, "normal_texture"),
        (PBRMaterial, {"base_color_texture": torch.ones(4, 4, 2)}, ValueError, "base_color_texture"),
        (PBRMaterial, {"base_color_texture": torch.ones(0, 4, 3)}, ValueError, "base_color_texture"),
        (PBRMaterial, {"emissive_texture": "a.png"}, TypeError, "emissive_texture"),
        (PhongMaterial, {"alpha": -0.1}, ValueError, "alpha"),
        (PhongMaterial, {"specular": torch.ones(4)}, ValueError, "specular"),
        (PhongMaterial, {"shininess": -1.0}, ValueError, "shininess"),
    ],
)
def test_wrong_arguments(kind: type[Material], arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(**arguments)
