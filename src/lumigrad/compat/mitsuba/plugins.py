"""Which plugins there are, and what each of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REQUIRED = object()
PLACED: dict[str, Any] = {"to_world": None}


@dataclass(frozen=True)
class Plugin:
    """What a plugin takes, with the values where nothing is said. What takes no gradient is among `options`.

    Attributes:
        family: see `Object`.
        textures: colours or images.
        numbers: parameters that are numbers.
        vectors: parameters that are vectors or matrices.
        options: words, switches, counts.
        below: families of the plugins that it may have below it.
    """

    family: str
    textures: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    below: tuple[str, ...] = ()


def _shape(vectors: Mapping[str, Any], numbers: Mapping[str, Any] | None = None, **options: Any) -> Plugin:
    options = {"flip_normals": False, "silhouette_sampling_weight": 1.0, **options}
    return Plugin("shape", {}, numbers or {}, vectors, options, ("bsdf", "emitter", "medium"))


def _bsdf(textures: Mapping[str, Any], numbers: Mapping[str, Any] | None = None, **options: Any) -> Plugin:
    return Plugin("bsdf", textures, numbers or {}, {}, options)


def _emitter(
    textures: Mapping[str, Any],
    numbers: Mapping[str, Any] | None = None,
    vectors: Mapping[str, Any] | None = None,
    **options: Any,
) -> Plugin:
    return Plugin("emitter", textures, numbers or {}, vectors or {}, {"sampling_weight": 1.0, **options})


def _integrator(max_depth: int, below: tuple[str, ...] = (), **options: Any) -> Plugin:
    options = {"max_depth": max_depth, "rr_depth": 5, "hide_emitters": False, **options}
    return Plugin("integrator", options=options, below=below)


_DIELECTRIC: dict[str, Any] = {"int_ior": "bk7", "ext_ior": "air"}
_COATING: dict[str, Any] = {"int_ior": "polypropylene", "ext_ior": "air", "nonlinear": False}
_FACETS: dict[str, Any] = {"distribution": "beckmann", "sample_visible": True, "alpha_u": None, "alpha_v": None}
_MESH_FILE: dict[str, Any] = {"filename": REQUIRED, "face_normals": False}
_LENS: dict[str, Any] = {
    "fov": None, "focal_length": None, "fov_axis": "x", "shutter_open": 0.0, "shutter_close": 0.0,
}  # fmt: skip
_LENS_NUMBERS = {
    "near_clip": 1e-2, "far_clip": 1e4, "principal_point_offset_x": 0.0, "principal_point_offset_y": 0.0,
}  # fmt: skip
_VISIBILITY: dict[str, Any] = {
    "sppc": 0, "sppp": 0, "sppi": 0, "guiding": "octree", "guiding_proj": True, "guiding_rounds": 1,
    "proj_seed_spp": 512,
}  # fmt: skip

PLUGINS: dict[str, Plugin] = {
    "scene": Plugin(
        "scene",
        options={"allow_thread_reordering": True},
        below=("shape", "bsdf", "emitter", "texture", "sensor", "integrator", "medium", "phase", "volume", "film",
               "sampler", "rfilter"),
    ),
    # ---- Cameras
    "perspective": Plugin(
        "sensor", {}, _LENS_NUMBERS, PLACED, {**_LENS, "focus_distance": 1e4}, ("film", "sampler")
    ),
    "orthographic": Plugin(
        "sensor", {}, {"near_clip": 1e-2, "far_clip": 1e4}, PLACED,
        {"shutter_open": 0.0, "shutter_close": 0.0, "focus_distance": 1e4}, ("film", "sampler"),
    ),
    "thinlens": Plugin(
        "sensor", {}, {**_LENS_NUMBERS, "aperture_radius": REQUIRED, "focus_distance": REQUIRED}, PLACED, _LENS,
        ("film", "sampler"),
    ),
    "hdrfilm": Plugin(
        "film",
        options={
            "width": 768, "height": 576, "crop_offset_x": 0, "crop_offset_y": 0, "crop_width": None,
            "crop_height": None, "pixel_format": "rgb", "component_format": "float16", "file_format": "openexr",
            "sample_border": False, "compensate": False,
        },
        below=("rfilter",),
    ),
    **{
        name: Plugin("sampler", options={"sample_count": 4, "seed": 0, "jitter": True})
        for name in ("independent", "stratified", "multijitter", "orthogonal", "ldsampler")
    },
    "box": Plugin("rfilter", options={"radius": 0.5}),
    "tent": Plugin("rfilter", options={"radius": 1.0}),
    "gaussian": Plugin("rfilter", options={"stddev": 0.5}),
    "mitchell": Plugin("rfilter", options={"A": 1 / 3, "B": 1 / 3}),
    "catmullrom": Plugin("rfilter"),
    "lanczos": Plugin("rfilter", options={"lobes": 3}),
    # ---- Integrators
    "path": _integrator(-1),
    "volpath": _integrator(-1),
    "volpathmis": _integrator(-1),
    "direct": _integrator(2, emitter_samples=1, bsdf_samples=1, shading_samples=1),
    "prb": _integrator(6),
    "prb_basic": _integrator(6),
    "prbvolpath": _integrator(6),
    "prb_projective": _integrator(6, **_VISIBILITY),
    "direct_projective": _integrator(2, **_VISIBILITY),
    "depth": _integrator(1),
    "aov": _integrator(1, ("integrator",), aovs=REQUIRED),
    # ---- Shapes
    "rectangle": _shape(PLACED),
    "cube": _shape(PLACED),
    "disk": _shape(PLACED, segments=128),
    "sphere": _shape(PLACED, center=(0.0, 0.0, 0.0), radius=1.0, segments=128),
    "cylinder": _shape(PLACED, p0=(0.0, 0.0, 0.0), p1=(0.0, 0.0, 1.0), radius=1.0, segments=128),
    "obj": _shape(PLACED, **_MESH_FILE, flip_tex_coords=True),
    "ply": _shape(PLACED, **_MESH_FILE, flip_tex_coords=False),
    "serialized": _shape(PLACED, **_MESH_FILE, shape_index=0),
    "mesh": _shape(
        {**PLACED, "vertex_positions": REQUIRED, "vertex_normals": None, "vertex_texcoords": None},
        faces=REQUIRED, face_normals=False,
    ),
    "shapegroup": Plugin("shape", below=("shape",)),
    "instance": Plugin("shape", vectors=PLACED, below=("shape",)),
    # ---- Materials
    "diffuse": _bsdf({"reflectance": 0.5}),
    "conductor": _bsdf({"eta": None, "k": None, "specular_reflectance": 1.0}, material="none"),
    "roughconductor": _bsdf(
        {"alpha": 0.1, "eta": None, "k": None, "specular_reflectance": 1.0}, material="none", **_FACETS
    ),
    "dielectric": _bsdf({"specular_reflectance": 1.0, "specular_transmittance": 1.0}, **_DIELECTRIC),
    "roughdielectric": _bsdf(
        {"alpha": 0.1, "specular_reflectance": 1.0, "specular_transmittance": 1.0}, **_DIELECTRIC, **_FACETS
    ),
    "plastic": _bsdf({"diffuse_reflectance": 0.5, "specular_reflectance": 1.0}, **_COATING),
    "roughplastic": _bsdf(
        {"diffuse_reflectance": 0.5, "specular_reflectance": 1.0}, {"alpha": 0.1}, **_COATING, **_FACETS
    ),
    "principled": _bsdf(
        {
            "base_color": 0.5, "roughness": 0.5, "metallic": 0.0, "anisotropic": 0.0, "spec_tint": 0.0, "sheen": 0.0,
            "sheen_tint": 0.0, "flatness": 0.0, "clearcoat": 0.0, "clearcoat_gloss": 0.0, "spec_trans": 0.0,
        },
        {"specular": None, "eta": None},
        model="disney",
        diffuse_reflectance_sampling_rate=1.0, main_specular_sampling_rate=1.0, clearcoat_sampling_rate=1.0,
    ),
    "twosided": Plugin("bsdf", below=("bsdf",)),
    "mask": Plugin("bsdf", textures={"opacity": 0.5}, below=("bsdf",)),
    "null": Plugin("bsdf"),
    # ---- Lights
    "area": _emitter({"radiance": 1.0}),
    "point": _emitter({"intensity": 1.0}, vectors={"position": None, **PLACED}),
    "directional": _emitter({"irradiance": 1.0}, vectors=PLACED, direction=None),
    "spot": _emitter(
        {"intensity": 1.0, "texture": 1.0}, {"cutoff_angle": 20.0, "beam_width": None}, PLACED, falloff="linear"
    ),
    "constant": _emitter({"radiance": 1.0}),
    "envmap": _emitter({}, {"scale": 1.0}, PLACED, filename=None, bitmap=None, data=None),
    # ---- Textures
    "uniform": Plugin("texture", vectors={"value": 1.0}),
    "rgb": Plugin("texture", vectors={"value": REQUIRED}),
    "bitmap": Plugin(
        "texture",
        options={
            "filename": None, "bitmap": None, "data": None, "raw": False, "wrap_mode": "repeat",
            "filter_type": "bilinear", "format": "variant", "to_uv": None, "accel": True,
        },
    ),
    "checkerboard": Plugin(
        "texture", {"color0": 0.4, "color1": 0.2}, options={"to_uv": None, "wrap_mode": "repeat"}
    ),
}  # fmt: skip
# Other names of the same.
SAME = {"srgb": "rgb"}

# Plugins that exist in Mitsuba, and why they are not here.
REFUSED = {
    **dict.fromkeys(("irradiancemeter", "radiancemeter", "distant", "batch"), "sensor"),
    **dict.fromkeys(("ptracer", "stokes", "moment", "particle"), "integrator"),
    **dict.fromkeys(
        ("sdfgrid", "bsplinecurve", "linearcurve", "ellipsoids", "ellipsoidsmesh",
         "merge", "gltf"), "shape",
    ),
    **dict.fromkeys(
        ("principledthin", "thindielectric", "blendbsdf",
         "bumpmap", "normalmap", "hair", "measured", "measured_polarized", "pplastic", "polarizer", "retarder",
         "circular"), "bsdf",
    ),
    **dict.fromkeys(("projector", "sunsky", "timed_sunsky", "directionalarea", "volumelight"), "emitter"),
    **dict.fromkeys(("mesh_attribute", "volume", "blackbody", "regular", "irregular"), "texture"),
    **dict.fromkeys(("homogeneous", "heterogeneous"), "medium"),
    **dict.fromkeys(("isotropic", "hg", "rayleigh", "sggx", "blendphase", "tabphase"), "phase function"),
    **dict.fromkeys(("gridvolume", "constvolume", "simplexnoise"), "volume"),
    **dict.fromkeys(("specfilm", "vectorfilm"), "film"),
}  # fmt: skip
