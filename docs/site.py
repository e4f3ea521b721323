"""What the site has besides the pages of this folder: the reference, from docstrings; the changelog; how to contribute.

mkdocs calls these functions (mkdocs.yml, `hooks`).
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES_OF_THE_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
# The order of the reference; a star stands for the packages inside.
PACKAGES = (
    "lumigrad", "lumigrad.scene", "lumigrad.render", "lumigrad.gradients", "lumigrad.fit", "lumigrad.fit.*",
    "lumigrad.io", "lumigrad.view", "lumigrad.memory", "lumigrad.ops.*",
)  # fmt: skip
# A picture of a page, and what is said under it.
PICTURE = re.compile(r"^!\[([^]]*)\]\(((?:\.\./)?images/[^)]*)\)\n\n\*((?:[^*]|\n(?!\n))*?)\*\n", re.MULTILINE)


class ExamplesAsCode(griffe.Extension):
    """Examples in docstrings (`>>>` and what follows, up to an empty line) become blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)>>> (?:.|\n(?! *\n|$))*",
                lambda m: f"{m[1]}```pycon\n{m[0]}\n{m[1]}```",
                obj.docstring.value,
                flags=re.M,
            )


def on_config(config: Any) -> Any:
    reference = [{package: f"reference/{package}.md"} for package in _contents()]
    at = next(n for n, entry in enumerate(config.nav) if "Experiments" in entry)
    config.nav.insert(at, {"Reference": ["reference/index.md", *reference]})
    return config


def on_files(files: Files, config: Any) -> Files:
    for page, file in PAGES_OF_THE_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text(encoding="utf-8")))
    files.append(File.generated(config, "gallery.md", content=_gallery()))
    files.append(File.generated(config, "reference/index.md", content=_overview()))
    for package, names in _contents().items():
        files.append(File.generated(config, f"reference/{package}.md", content=_reference(package, names)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between pages and files of the repository become links between pages, or names of files."""
    for name, file in PAGES_OF_THE_ROOT.items():
        markdown = re.sub(rf"\]\(((?:\.\./)*)\.\./{file}", rf"](\1{name}", markdown).replace(f"]({file}", f"]({name}")
    if page.file.src_uri in PAGES_OF_THE_ROOT:
        markdown = markdown.replace("](docs/", "](")
    return re.sub(r"\[([^]]*)\]\((?:\.\./)+(?:src|native|tests|examples|benchmarks)/[^)]*\)", r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Roles of Sphinx in docstrings, such as :func:`~lumigrad.rasterize`, become links."""

    def link(match: re.Match[str]) -> str:
        name = match.group(2)
        shown = name.rsplit(".", 1)[-1] if match.group(1) else name
        return f'<autoref optional identifier="{name}"><code>{shown}</code></autoref>'

    return re.sub(r":(?:class|func|meth|mod|attr|data|obj):<code>(~?)([\w.]+)</code>", link, html)


def _gallery() -> str:
    """All pictures of the pages with their captions, which say how each is made."""
    parts = ["# Gallery", "", "Pictures of the other pages. Captions say by which command each is made.", ""]
    for page in sorted(DOCS.rglob("*.md")):
        for text, picture, caption in PICTURE.findall(page.read_text(encoding="utf-8")):
            name = page.relative_to(DOCS).as_posix()
            title = page.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            parts += [f"![{text}]({picture.removeprefix('../')})", "", f"*{caption}* [{title}]({name})", ""]
    return "\n".join(parts)


def _overview() -> str:
    rows = [f"| [`{package}`]({package}.md) | {_purpose(package)} |" for package in _contents()]
    return "\n".join(["# Reference", "", "From the docstrings.", "", "| package | contents |", "|---|---|", *rows, ""])


def _reference(package: str, names: list[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"# {package}\n\n{_purpose(package)}\n\n::: {package}\n    options:\n      members: [{listed}]\n"


@cache
def _contents() -> dict[str, list[str]]:
    """The public names of each package that no package before it has: `lumigrad` has most of `lumigrad.ops`."""
    contents, shown = {}, set()
    for package in _packages():
        family = {"lumigrad": "ops"}.get(package, ".".join(package.split(".")[1:2]))
        names = [name for name in _public(package) if (family, name) not in shown]
        shown |= {(family, name) for name in names}
        if names:
            contents[package] = names
    return contents


def _packages() -> list[str]:
    found = []
    for package in PACKAGES:
        if package.endswith("*"):
            inside = _file(package[:-2]).parent
            found += [package[:-1] + file.parent.name for file in sorted(inside.glob("[a-z]*/__init__.py"))]
        else:
            found.append(package)
    return found


def _public(package: str) -> list[str]:
    """The names in `__all__` that are no packages themselves, found without importing lumigrad."""
    file = _file(package)
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names = [str(name) for name in ast.literal_eval(node.value)]
            return [name for name in names if not (file.parent / name).is_dir()]
    raise ValueError(f"{file}: there is no __all__")


def _purpose(package: str) -> str:
    """The first sentence of the package's docstring."""
    text = ast.get_docstring(ast.parse(_file(package).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _file(package: str) -> Path:
    folder = ROOT / "src" / Path(*package.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
