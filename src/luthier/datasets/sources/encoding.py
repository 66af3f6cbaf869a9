"""Which codec a file's text is in: told from its first bytes when that is certain, refused with the remedy when not.

UTF-8 (with or without byte order mark), UTF-16 and UTF-32 with one, UTF-16 JSON without one, and GBK/GB18030 are
recognised. Never decodes with replacement characters.
"""

from __future__ import annotations

import codecs

from luthier.errors import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
COMMON_SHARE = 0.97
"""So much of the non-ASCII text must be everyday Chinese before bytes are taken for GBK."""


def detect_encoding(head: bytes, path: str) -> str:
    """The codec of a text that starts with head. Raises DataError when the bytes are neither UTF-8 nor surely another."""
    for mark, codec in MARKS:
        if head.startswith(mark):
            return codec
    if len(head) >= 2 and head[0] in b"[{ \t\r\n" and head[1] == 0:
        return "utf-16-le"
    if len(head) >= 2 and head[0] == 0 and head[1] in b"[{ \t\r\n":
        return "utf-16-be"
    error = _decode_error(head, "utf-8")
    if error is None:
        return "utf-8"
    if _is_gbk(head):
        return "gb18030"
    raise undecodable(path, f"byte {error.start}, line {head.count(10, 0, error.start) + 1}")


def undecodable(path: str, where: str) -> DataError:
    """The error for text in an unknown encoding. where: the first place that is not UTF-8."""
    return DataError(
        f"{path} is not UTF-8 text ({where}), and its encoding cannot be told for certain.",
        f'Convert it (iconv -f GBK -t UTF-8 "{path}" > new file), or name the encoding in dataset_info.json: "encoding": "gbk"',
    )


def _decode_error(head: bytes, codec: str) -> UnicodeDecodeError | None:
    """The first error in head; a character cut by its end is none."""
    try:
        codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError as error:
        return error
    return None


def _is_gbk(head: bytes) -> bool:
    """Strictly decodable as GB18030, and nearly all of it the 3,755 everyday characters and Chinese punctuation.

    Big5, Shift-JIS and Latin-1 text decodes too, but into rare characters: rows 0xB0-0xD7 of GB2312 hold the common ones.
    """
    if _decode_error(head, "gb18030"):
        return False
    text = codecs.getincrementaldecoder("gb18030")().decode(head)
    foreign = [character for character in text if ord(character) > 127]
    pairs = (character.encode("gb18030") for character in foreign)
    common = sum(len(pair) == 2 and (0xA1 <= pair[0] <= 0xA3 or 0xB0 <= pair[0] <= 0xD7) and pair[1] >= 0xA1 for pair in pairs)
    return len(foreign) >= 8 and common >= COMMON_SHARE * len(foreign)
