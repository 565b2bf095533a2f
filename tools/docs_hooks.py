"""What MkDocs does beyond its own: pages from outside docs/, notebooks as they are stored, links as they are on disk.

A document of the repository links to files, which works wherever files are looked at. On the site a link to a file that
is a page leads to the page; one to a file that is none (source code) becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
# Document of the repository -> page of the site.
PAGES = {
    "INFERENCE.md": "command_line.md",
    "bench/README.md": "benchmarks.md",
    "checkpoints/demo.md": "embedded_model.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "notebooks": "notebooks/getting_started.md",
}
PICTURES = ("bench/results/*.png", "checkpoints/*.png")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        if page not in ("index.md", "notebooks/getting_started.md"):
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for pattern in PICTURES:
        for picture in ROOT.glob(pattern):
            name = picture.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, content=picture.read_bytes()))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for name, content in _converted(notebook).items():
            files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links between files become links between pages."""
    here = page.file.src_uri
    on_disk = next((source for source, name in PAGES.items() if name == here and name != "index.md"), f"docs/{here}")
    if here.startswith("notebooks/"):
        on_disk = here  # beside the notebook it was made from

    def to_page(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        if not target or "://" in target or target.startswith(f"{Path(here).stem}_files/"):
            return match.group(0)
        file = posixpath.normpath(posixpath.join(posixpath.dirname(on_disk), target))
        found = _page_of(file)
        if found is not None:
            link = posixpath.relpath(found, posixpath.dirname(here) or ".")
            return f"{mark}[{text}]({link}{anchor or ''})"
        return text if (ROOT / file).exists() else match.group(0)

    return _LINK.sub(to_page, markdown)


def _page_of(file: str) -> str | None:
    """Where a file of the repository is on the site."""
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/") if (ROOT / file).is_file() else None
    if file.startswith("notebooks/"):
        return file.replace(".ipynb", ".md")
    return file if (ROOT / file).suffix == ".png" and (ROOT / file).is_file() else None


def _converted(path: Path) -> dict[str, str | bytes]:
    """A notebook's page, and its pictures beside it."""
    folder = f"{path.stem}_files"
    resources = {"unique_key": path.stem, "output_files_dir": folder}
    body, written = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4), resources)
    pictures = {f"notebooks/{name}": content for name, content in written["outputs"].items()}
    return {f"notebooks/{path.stem}.md": body, **pictures}
