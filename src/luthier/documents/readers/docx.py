"""Word files: mammoth makes HTML by style, html.py makes Markdown of it. Images are counted, headers and footers left out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from luthier.documents.base import Parsed, plural
from luthier.documents.readers.html import html_to_markdown
from luthier.errors import DataError

STYLES = "\n".join(
    [
        "p[style-name='Title'] => h1:fresh",
        *(f"p[style-name='Heading {level}'] => h{min(level, 6)}:fresh" for level in range(1, 10)),
        *(f"p[style-name='标题 {level}'] => h{level}:fresh" for level in range(1, 7)),
        "p[style-name='Code'] => pre:separator('\\n')",
        "p[style-name='Source Code'] => pre:separator('\\n')",
    ]
)


def read_docx(path: Path, options: Mapping[str, Any]) -> Parsed:
    import mammoth

    images = 0

    def skip_image(image: Any) -> list[Any]:
        nonlocal images
        images += 1
        return []

    try:
        with path.open("rb") as file:
            result = mammoth.convert_to_html(file, style_map=STYLES, convert_image=skip_image)
    except Exception as error:  # mammoth lets the errors of zipfile, the XML parser and its own maps through
        raise DataError(f"{path.name} is a broken Word file: {error}.", "Open it in Word and save it again.") from None
    _, text, _ = html_to_markdown(result.value)
    if not text.strip():
        only = f", only {plural(images, 'image')}" if images else ""
        raise DataError(f"{path.name} has no text{only}.", "Nothing to read.")
    first = next((line.lstrip("# ").strip() for line in text.splitlines() if line.strip()), path.stem)
    notes = (f"{plural(images, 'image')} left out",) if images else ()
    return Parsed(text=text, title=first[:80], kind="docx", parser="mammoth", version=version("mammoth"), notes=notes)
