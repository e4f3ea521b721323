"""A report for bug reports about a machine, its Python and its torch.

It does not use lumigrad's compiled core, so it also works if the core cannot be loaded.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lumigrad._optional import PACKAGES

# Lines: a name and its value.
Section = list[tuple[str, str]]

# Besides those that begin with LUMIGRAD_: variables that affect threads, devices and the choice of libraries.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "DYLD_LIBRARY_PATH",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MKL_NUM_THREADS",
    "MKL_THREADING_LAYER",
    "OPENBLAS_NUM_THREADS",
    "PYTHONPATH",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "TORCH_NUM_THREADS",
)
_PREFIXES = ("LUMIGRAD_", "OMP_", "GOMP_")


def report(sections: Mapping[str, Section]) -> str:
    """All sections as a Markdown code block. The home folder is written as ~."""
    width = max(len(name) for lines in sections.values() for name, _ in lines)
    text = "\n\n".join(
        "\n".join([f"[{heading}]", *(f"{name:{width}}  {value}" for name, value in lines)])
        for heading, lines in sections.items()
        if lines
    )
    return f"```text\n{without_home(text)}\n```"


def without_home(text: str) -> str:
    """The text with ~ in place of the home folder, which may reveal a name."""
    home = str(Path.home())
    if len(home) < 2:
        return text
    return re.sub(rf"(?<![\w.~/\\-]){re.escape(home)}(?![\w.-])", "~", text)


def surroundings() -> dict[str, Section]:
    """Everything except what lumigrad reports about itself."""
    return {
        "machine": machine(),
        "python": python(),
        "torch": torch_settings(),
        "packages": packages(),
        "environment": environment(),
    }


def machine() -> Section:
    """The system, its processors, memory and load."""
    return [
        ("system", platform.platform()),
        ("processor", _processor()),
        ("processors", f"{usable_processors()} of use to this process, {os.cpu_count()} in the machine"),
        ("memory", _memory()),
        ("load", load()),
    ]


def load() -> str:
    """The number of processes that wanted to run during the last minute, and its effect on measurements."""
    try:
        busy = os.getloadavg()[0]
    except (AttributeError, OSError):
        return "unknown"
    processors = os.cpu_count() or 1
    advice = ": busy, timings mean little and several threads may gain nothing" if busy > 0.75 * processors else ""
    return f"{busy:.1f} on {processors} processors{advice}"


def usable_processors() -> int:
    """The number of processors that this process may use, if the system tells; a container's quota is ignored."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """The name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    """The machine's memory and, on Linux, the free part."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in lines}
        return f"{sizes['MemTotal']:.1f} GiB, {sizes['MemAvailable']:.1f} GiB of it free"
    with suppress(AttributeError, OSError, ValueError):
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    return "unknown"


def python() -> Section:
    """The Python interpreter and its environment."""
    bits = 64 if sys.maxsize > 2**32 else 32
    kind = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    if (Path(sys.prefix) / "conda-meta").is_dir():
        kind = "a conda environment"
    return [
        ("version", f"{platform.python_implementation()} {platform.python_version()}, {bits} bit"),
        ("program", f"{sys.executable} ({kind})"),
    ]


def torch_settings() -> Section:
    """torch's version and its settings that concern lumigrad, or the reason why it cannot be imported."""
    try:
        import torch
    except Exception as error:  # a damaged torch may raise anything
        return [("torch", f"cannot be imported: {type(error).__name__}: {error}")]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    lines = [
        ("torch", f"{torch.__version__}, built for {build}"),
        ("folder", str(Path(torch.__file__).parent)),
        ("threads", f"{torch.get_num_threads()} within an op, {torch.get_num_interop_threads()} between ops"),
        ("parallel by", _parallel_backend(torch.__config__.parallel_info)),
        ("default dtype", str(torch.get_default_dtype())),
        ("deterministic", str(torch.are_deterministic_algorithms_enabled())),
    ]
    return lines + _devices()


def _parallel_backend(parallel_info: Callable[[], str]) -> str:
    """The line of torch's own report that names its threading library."""
    lines = parallel_info().splitlines()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("ATen parallel backend")]
    return found[0] if found else "unknown"


def _devices() -> Section:
    """The machine's GPUs according to torch."""
    import torch

    lines = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            of = torch.cuda.get_device_properties(index)
            size = f"{of.total_memory / 2**30:.0f} GiB"
            lines.append((f"device {index}", f"{of.name}, compute capability {of.major}.{of.minor}, {size}"))
    elif torch.version.cuda:
        lines.append(("devices", "none that torch can use"))
    if torch.backends.mps.is_available():
        lines.append(("mps", "available"))
    return lines


def packages() -> Section:
    """The versions of numpy and of optional packages."""
    optional = {name for name, _ in PACKAGES.values()}
    return [(name, _version(name)) for name in ["numpy", *sorted(optional, key=str.lower)]]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def environment() -> Section:
    """Environment variables that change lumigrad's behaviour or libraries."""
    known = [(name, value) for name, value in os.environ.items() if name.startswith(_PREFIXES) or name in _VARIABLES]
    return sorted(known) or [("variables", "none that matter")]
