"""Header, exported symbols and declared ops agree; the parser and the declarations reject anything else."""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path

import cuda_kernels
import pytest

from lumigrad._engine import declare as declarations
from lumigrad._engine import direction, loading
from lumigrad._engine.abi import Header, parse_header
from lumigrad._engine.direction import Direction

FUNCTIONS = loading.HEADER.functions


def parse_dedented(text: str) -> Header:
    return parse_header(textwrap.dedent(text))


def exported(library: Path) -> set[str]:
    listed = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    return {name for name in names if name.startswith("lg_") and not name.startswith("lg_emulation_")}


needs_nm = pytest.mark.skipif(not shutil.which("nm"), reason="needs nm, of binutils")


@needs_nm
@pytest.mark.parametrize("isa", loading.available_isas())
def test_a_library_of_the_cpu_exports_what_the_header_declares(isa: str) -> None:
    assert exported(loading.library_path(isa)) == set(FUNCTIONS)


@needs_nm
def test_the_cuda_library_exports_all_but_what_is_the_cpus() -> None:
    paths = [path for path in (loading.library_path("cuda"), cuda_kernels.library()) if path and path.exists()]
    if not paths:
        pytest.skip("needs the CUDA library or its emulation")
    for path in paths:
        assert exported(path) == {name for name, function in FUNCTIONS.items() if not function.cpu_only}


def test_every_function_of_an_op_is_declared_by_one_op() -> None:
    called = [d.function.name for d in declarations.DIRECTIONS.values() if isinstance(d, Direction)]
    assert sorted(called) == sorted(name for name, function in FUNCTIONS.items() if function.is_op)


def test_prototypes() -> None:
    header = parse_dedented(
        """
        #define LG_ABI_VERSION 7
        enum { LG_OK = 0, LG_INVALID = 1 };
        typedef struct { int32_t threads; /* how many */ void* stream; } lg_call;
        /* LG_API int32_t lg_not_this(int32_t a); */
        LG_API int32_t lg_blur_forward(
            lg_call* call, int32_t dtype, const void* const* levels, int64_t count, double* out);
        LG_API_CPU const char* lg_best_isa(void);
        """
    )
    assert set(header.functions) == {"lg_blur_forward", "lg_best_isa"}
    blur = header.functions["lg_blur_forward"]
    assert [parameter.name for parameter in blur.parameters] == ["call", "dtype", "levels", "count", "out"]
    assert blur.is_op
    assert not blur.cpu_only
    assert header.functions["lg_best_isa"].cpu_only
    assert [name for name, _ in header.structure("lg_call")._fields_] == ["threads", "stream"]


HEADER = parse_dedented(
    """
    #define LG_ABI_VERSION 1
    typedef struct { int32_t threads; } lg_call;
    LG_API int32_t lg_blur_forward(lg_call* call, int32_t dtype, const void* image, int64_t count, void* out);
    """
)
SIZES = ("count", lambda image: (image.shape[0],))


@pytest.mark.parametrize(
    ("schema", "sizes", "outputs", "message"),
    [
        ("blur", SIZES, {"out": "count"}, "expected a schema such as"),
        ("smear(Tensor image)", SIZES, {"out": "count"}, "neither lg_smear_forward nor lg_smear"),
        ("blur(Tensor image)", SIZES, {"out": "counts"}, "counts in the shape of an output is no size and no input"),
        ("blur(Tensor image, int radius)", SIZES, {"out": "count"}, "nothing uses radius"),
        ("blur(Tensor image)", SIZES, {"image": "count"}, "image is declared as an input and as an output"),
        ("blur(Tensor picture)", ("count", lambda picture: (1,)), {"out": "count"}, "image"),
    ],
)
def test_declarations_that_do_not_fit(schema: str, sizes: tuple, outputs: dict[str, str], message: str) -> None:
    with pytest.raises(declarations.DeclarationError, match=message):
        declarations.plan(HEADER, schema, sizes, outputs)


def test_a_declaration_that_fits() -> None:
    op = declarations.plan(HEADER, "blur(Tensor image)", SIZES, {"out": "count"})
    assert op.backward is None
    assert op.forward.schema == "blur(Tensor image) -> (Tensor)"


@pytest.mark.parametrize("value", [None, False, True, 0, [0]])
def test_outputs_that_depend_on_an_input(value: object) -> None:
    places, row, wanted = {"rows": 0, "2": 1, "mask": 2}, (7, 2, value), value is not None and value is not False
    for text, full in (("rows 2", True), ("rows 2 if mask", wanted), ("rows 2 unless mask", not wanted)):
        assert direction.shape_in_words(text, places)(row) == ((7, 2) if full else (0,))
