"""What is left to do when the values of a plugin are there: checks, files, and what follows from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.constants import INDICES, METALS
from lumigrad.compat.mitsuba.objects import Object, at, below, note
from lumigrad.compat.mitsuba.plugins import PLUGINS
from lumigrad.compat.mitsuba.shapes import add_geometry
from lumigrad.compat.mitsuba.transforms import as_tensor
from lumigrad.io import load_image
from lumigrad.io.image import LINEAR
from lumigrad.scene.color import srgb_decode


class Loader(Protocol):
    """What loads the plugins that others need."""

    def load(self, properties: Mapping[str, Any], path: str) -> Object: ...

    def texture(self, value: Any, path: str) -> Object: ...

    def file(self, found: Object) -> Path: ...


def finish(found: Object, loader: Loader) -> None:
    _FINISH.get(found.kind, _nothing)(found, loader)


def _nothing(found: Object, loader: Loader) -> None:
    pass


def _add_index(found: Object, loader: Loader) -> None:
    """Inside over outside."""
    inside, outside = (_index(found, name) for name in ("int_ior", "ext_ior"))
    found.values["eta"] = torch.tensor(inside / outside)


def _index(found: Object, name: str) -> float:
    value = found.options[name]
    if isinstance(value, str):
        if value not in INDICES:
            raise ValueError(
                f"{below(found.path, name)}: expected a number or one of {', '.join(INDICES)}, got {value!r}"
            )
        return INDICES[value]
    if not value > 0:
        raise ValueError(f"{below(found.path, name)}: expected more than 0, got {value}")
    return float(value)


def _add_metal(found: Object, loader: Loader) -> None:
    name = found.options["material"]
    if ("eta" in found.children) != ("k" in found.children):
        raise ValueError(f"{at(found.path)}expected eta and k, got one of them")
    if "eta" in found.children:
        return
    if name not in METALS:
        raise ValueError(
            f"{below(found.path, 'material')}: expected one of {', '.join(METALS)}, or eta and k; got {name!r}"
        )
    for role, values in zip(("eta", "k"), METALS[name], strict=True):
        found.children[role] = loader.texture(values, below(found.path, role))


def _check_value(found: Object, loader: Loader) -> None:
    """The colour of a texture."""
    path, value = below(found.path, "value"), found.values["value"]
    if found.kind == "uniform" and value.numel() != 1:
        raise NotImplementedError(f"{path}: spectra are not offered; expected one number, got {value.numel()}")
    if found.kind == "rgb" and value.shape not in ((), (1,), (3,)):
        raise ValueError(f"{path}: expected one number or three, got {list(value.shape)}")
    found.values["value"] = value.reshape(()) if found.kind == "uniform" else value.expand(3)


def _add_bitmap(found: Object, loader: Loader) -> None:
    options = found.options
    if options["wrap_mode"] not in ("repeat", "mirror", "clamp"):
        raise ValueError(
            f"{below(found.path, 'wrap_mode')}: expected repeat, mirror or clamp, got {options['wrap_mode']!r}"
        )
    if options["filter_type"] not in ("bilinear", "nearest"):
        raise ValueError(
            f"{below(found.path, 'filter_type')}: expected bilinear or nearest, got {options['filter_type']!r}"
        )
    image = _pixels(found, loader, decode=not options["raw"])
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"{at(found.path)}expected 1 or 3 channels, got {image.shape[-1]}")
    found.values["data"] = image
    _place_texture(found, loader)


def _place_texture(found: Object, loader: Loader) -> None:
    """The map of texture coordinates, [3, 3] or [4, 4]."""
    given = found.options.pop("to_uv", None)
    matrix = torch.eye(3) if given is None else as_tensor(given, below(found.path, "to_uv"))
    if matrix.shape == (4, 4):
        keep = torch.tensor([0, 1, 3])
        matrix = matrix[keep][:, keep]
    if matrix.shape != (3, 3):
        raise ValueError(f"{below(found.path, 'to_uv')}: expected [3, 3], got {list(matrix.shape)}")
    found.values["to_uv"] = matrix


def _add_map(found: Object, loader: Loader) -> None:
    image = _pixels(found, loader, decode=True)
    if image.shape[-1] != 3 or min(image.shape[:2]) < 2:
        raise ValueError(f"{at(found.path)}expected [H, W, 3], both at least 2, got {list(image.shape)}")
    found.values["data"] = image
    _identity(found, loader)


def _pixels(found: Object, loader: Loader, decode: bool) -> Tensor:
    """Linear values [H, W, C]; 8-bit images are decoded from sRGB."""
    sources = [name for name in ("filename", "bitmap", "data") if found.options[name] is not None]
    if len(sources) != 1:
        raise ValueError(f"{at(found.path)}expected one of filename, bitmap and data, got {sources or 'none'}")
    if sources == ["filename"]:
        path = loader.file(found)
        image, encoded = load_image(path, orient=False)[..., :3], path.suffix.lower() not in LINEAR
    else:
        given = found.options.pop(sources[0])
        tensor = given if isinstance(given, Tensor) else torch.as_tensor(given)
        encoded = not tensor.is_floating_point() and sources == ["bitmap"]
        image = tensor if tensor.is_floating_point() else tensor.float() / _largest(tensor)
        image = image[..., None] if image.ndim == 2 else image
        found.options[sources[0]] = None
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"{at(found.path)}expected an image [H, W, C], got {list(image.shape)}")
    return srgb_decode(image) if encoded and decode else image


def _largest(tensor: Tensor) -> int:
    """What stands for 1 in an image of integers."""
    return 1 if tensor.dtype == torch.bool else torch.iinfo(tensor.dtype).max


def _place_lamp(found: Object, loader: Loader) -> None:
    """A direction becomes a transform, as in Mitsuba."""
    direction = found.options.pop("direction", None)
    if direction is not None:
        if "to_world" in found.values:
            raise ValueError(f"{at(found.path)}expected a direction or to_world, got both")
        found.values["to_world"] = _facing(as_tensor(direction, below(found.path, "direction")))
    _identity(found, loader)


def _place_point(found: Object, loader: Loader) -> None:
    matrix = found.values.pop("to_world", None)
    if matrix is not None and "position" in found.values:
        raise ValueError(f"{at(found.path)}expected a position or to_world, got both")
    found.values.setdefault("position", torch.zeros(3) if matrix is None else matrix[:3, 3])
    if found.values["position"].shape != (3,):
        raise ValueError(f"{below(found.path, 'position')}: expected [3], got {list(found.values['position'].shape)}")


def _facing(direction: Tensor) -> Tensor:
    """A rotation [4, 4] of which +z is a direction."""
    z = torch.nn.functional.normalize(direction, dim=0)
    least = torch.nn.functional.one_hot(z.detach().abs().argmin(), 3).to(z)
    x = torch.nn.functional.normalize(torch.linalg.cross(least, z), dim=0)
    return torch.block_diag(torch.stack([x, torch.linalg.cross(z, x), z], 1), torch.ones(1, 1))


def _place_spot(found: Object, loader: Loader) -> None:
    if "beam_width" not in found.values:
        found.values["beam_width"] = 0.75 * found.values["cutoff_angle"]
    _identity(found, loader)


def _identity(found: Object, loader: Loader) -> None:
    matrix = found.values.setdefault("to_world", torch.eye(4))
    if matrix.shape != (4, 4):
        raise ValueError(f"{below(found.path, 'to_world')}: expected [4, 4], got {list(matrix.shape)}")


def _add_film(found: Object, loader: Loader) -> None:
    """Film and sampler; of perspective sensors, the field of view in terms of the film's width."""
    _identity(found, loader)
    if "film" not in found.children:
        found.children["film"] = loader.load({"type": "hdrfilm"}, below(found.path, "film"))
    if "sampler" not in found.children:
        found.children["sampler"] = loader.load({"type": "independent"}, below(found.path, "sampler"))
    elif found.children["sampler"].kind != "independent":
        note(f"{below(found.path, 'sampler')}: samples are independent, got {found.children['sampler'].kind!r}")
    if found.options["shutter_open"] != found.options["shutter_close"]:
        raise NotImplementedError(f"{below(found.path, 'shutter_close')}: motion is not offered")
    if found.kind == "orthographic":
        return
    size = found.children["film"].options
    found.values["x_fov"] = torch.tensor(_degrees_across(found, size["width"], size["height"]))


def _degrees_across(found: Object, width: int, height: int) -> float:
    """The field of view along x."""
    fov, focal, axis = (found.options[name] for name in ("fov", "focal_length", "fov_axis"))
    diagonal = math.hypot(width, height)
    extents = {
        "x": width,
        "y": height,
        "diagonal": diagonal,
        "smaller": min(width, height),
        "larger": max(width, height),
    }
    if fov is not None and focal is not None:
        raise ValueError(f"{at(found.path)}expected fov or focal_length, got both")
    focal = "50mm" if fov is None and focal is None else focal
    if focal is not None:  # of a film of 36 x 24 mm
        millimetres = float(str(focal).removesuffix("mm"))
        half, axis = math.hypot(36, 24) / 2 / millimetres, "diagonal"
    else:
        if axis not in extents:
            raise ValueError(f"{below(found.path, 'fov_axis')}: expected one of {', '.join(extents)}, got {axis!r}")
        if not 0 < float(fov) < 180:
            raise ValueError(f"{below(found.path, 'fov')}: expected degrees in (0, 180), got {fov}")
        half = math.tan(math.radians(float(fov)) / 2)
    return 2 * math.degrees(math.atan(half * width / extents[axis]))


def _check_film(found: Object, loader: Loader) -> None:
    options = found.options
    for side, offset in (("width", "crop_offset_x"), ("height", "crop_offset_y")):
        crop = f"crop_{side}"
        options[crop] = options[side] - options[offset] if options[crop] is None else options[crop]
        if not (options[offset] >= 0 and 0 < options[crop] <= options[side] - options[offset]):
            got = f"{options[crop]} from {options[offset]}"
            raise ValueError(f"{below(found.path, crop)}: expected a part of {options[side]} pixels, got {got}")
    if options["pixel_format"] not in ("rgb", "rgba", "luminance"):
        raise NotImplementedError(
            f"{below(found.path, 'pixel_format')}: expected rgb, rgba or luminance, got {options['pixel_format']!r}"
        )
    for name in ("sample_border", "compensate"):
        if options[name]:
            raise NotImplementedError(f"{below(found.path, name)}: expected false")
    if "rfilter" not in found.children:
        found.children["rfilter"] = loader.load({"type": "gaussian"}, below(found.path, "rfilter"))


def _check_filter(found: Object, loader: Loader) -> None:
    for name in ("radius", "stddev", "lobes"):
        if not found.options.get(name, 1) > 0:
            raise ValueError(f"{below(found.path, name)}: expected more than 0, got {found.options[name]}")


def _check_integrator(found: Object, loader: Loader) -> None:
    options = found.options
    if options["max_depth"] < -1:
        raise ValueError(f"{below(found.path, 'max_depth')}: expected -1 or more, got {options['max_depth']}")
    for name in ("emitter_samples", "bsdf_samples", "shading_samples"):
        if options.get(name, 1) != 1:
            note(f"{below(found.path, name)}: each sample takes 1, got {options[name]}; raise spp instead")
    if options["rr_depth"] != 5:
        note(f"{below(found.path, 'rr_depth')}: paths may end from the fifth surface on, got {options['rr_depth']}")


def _check_twosided(found: Object, loader: Loader) -> None:
    count = len(found.of_family("bsdf"))
    if count != 1:
        what = "a BSDF" if not count else "one BSDF for both sides"
        raise (ValueError if not count else NotImplementedError)(f"{at(found.path)}expected {what}, got {count}")


def _check_mask(found: Object, loader: Loader) -> None:
    if len(found.of_family("bsdf")) != 1:
        raise ValueError(f"{at(found.path)}expected a BSDF, got {len(found.of_family('bsdf'))}")


def _add_specular(found: Object, loader: Loader) -> None:
    """By default 0.5; of specular and eta, one follows from the other."""
    if "specular" in found.values and "eta" in found.values:
        raise ValueError(f"{at(found.path)}expected specular or eta, got both")
    if "eta" not in found.values:
        found.values.setdefault("specular", torch.tensor(0.5))


def _check_group(found: Object, loader: Loader) -> None:
    """As in Mitsuba, what is placed many times emits nothing and holds no instances."""
    if not found.children:
        raise ValueError(f"{at(found.path)}expected at least one shape in a 'shapegroup', got none")
    for shape in found.children.values():
        if shape.kind in ("instance", "shapegroup"):
            raise NotImplementedError(f"{at(shape.path)}expected no {shape.kind!r} below a 'shapegroup'")
        if "emitter" in shape.children:
            raise NotImplementedError(f"{at(shape.path)}shapes of a 'shapegroup' do not emit")


def _place_instance(found: Object, loader: Loader) -> None:
    kinds = [child.kind for child in found.children.values()]
    if kinds != ["shapegroup"]:
        raise ValueError(f"{at(found.path)}expected one 'shapegroup', got {', '.join(kinds) or 'none'}")
    _identity(found, loader)


def _add_shape(found: Object, loader: Loader) -> None:
    add_geometry(found, loader.file(found) if "filename" in found.options else None)


_FINISH: dict[str, Callable[[Object, Loader], None]] = {
    "uniform": _check_value,
    "rgb": _check_value,
    "bitmap": _add_bitmap,
    "checkerboard": _place_texture,
    "envmap": _add_map,
    "dielectric": _add_index,
    "roughdielectric": _add_index,
    "plastic": _add_index,
    "roughplastic": _add_index,
    "principled": _add_specular,
    "mask": _check_mask,
    "conductor": _add_metal,
    "roughconductor": _add_metal,
    "twosided": _check_twosided,
    "directional": _place_lamp,
    "point": _place_point,
    "spot": _place_spot,
    "perspective": _add_film,
    "thinlens": _add_film,
    "orthographic": _add_film,
    "hdrfilm": _check_film,
    **{name: _check_filter for name, plugin in PLUGINS.items() if plugin.family == "rfilter"},
    **{name: _check_integrator for name, plugin in PLUGINS.items() if plugin.family == "integrator"},
    **{name: _add_shape for name, plugin in PLUGINS.items() if plugin.family == "shape"},
    "shapegroup": _check_group,
    "instance": _place_instance,
}
