"""Readers: a file of some kind to Parsed. READERS is the table; a new kind is one file here and one line below.

Nothing here runs in the process of the command: sandbox.py gives each file to a process with limits.
"""

from __future__ import annotations

from pathlib import Path

from luthier.registry import Registry

READERS = Registry(
    "document kind",
    {
        "markdown": "luthier.documents.readers.text:read_markdown",
        "text": "luthier.documents.readers.text:read_text",
        "html": "luthier.documents.readers.html:read_html",
        "docx": "luthier.documents.readers.docx:read_docx",
        "pdf": "luthier.documents.readers.pdf:read_pdf",
        "epub": "luthier.documents.readers.epub:read_epub",
        "csv": "luthier.documents.readers.table:read_csv",
        "xlsx": "luthier.documents.readers.table:read_xlsx",
        "pptx": "luthier.documents.readers.pptx:read_pptx",
        "mineru": "luthier.documents.readers.mineru:read_mineru",
        "openapi": "luthier.documents.readers.openapi:read_openapi",
        "chat": "luthier.documents.readers.chatlog:read_chatlog",
        "code": "luthier.documents.readers.code:read_code",
    },
)

SUFFIXES = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), "markdown"),
    **dict.fromkeys((".txt", ".text", ".rst", ".adoc", ".log"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".xlsx", ".xlsm"), "xlsx"),
    **dict.fromkeys((".json", ".jsonl", ".yaml", ".yml"), "data"),
    **dict.fromkeys((".py", ".js", ".ts", ".tsx", ".java", ".go", ".rs", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs"), "code"),
    **dict.fromkeys((".php", ".rb", ".swift", ".kt", ".scala", ".sh", ".sql", ".lua", ".r", ".m", ".proto"), "code"),
    ".docx": "docx",
    ".pdf": "pdf",
    ".epub": "epub",
    ".pptx": "pptx",
}
"""What a name promises; sniff.py looks at the bytes. "data" is decided by the content: openapi, mineru, chat or text."""


def folder_kind(folder: Path) -> str:
    """mineru for an output folder of MinerU (its *_content_list.json stands for the whole), else folder."""
    return "mineru" if any(folder.glob("*_content_list.json")) else "folder"
