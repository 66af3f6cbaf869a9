"""PDF files written object by object, so that a test knows what is in them and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

HEADER = b"%PDF-1.4\n"


def text_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A file with these lines of Latin text on its pages; with no page at all for []."""
    fonts = b"<< /Font << /F 3 0 R >> >>"
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    body = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        content = b"BT /F 11 Tf 14 TL 60 760 Td " + b" ".join(b"(%s) Tj T*" % line.encode("latin-1") for line in lines) + b" ET"
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources %s /Contents %d 0 R >>"
        body.append(page % (fonts, 5 + 2 * number))
        body.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return file_of(body)


def locked_pdf() -> bytes:
    """A file whose user password is not empty: a standard security handler with a key that nobody here knows."""
    body = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>",
        b"<< /Filter /Standard /V 1 /R 2 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> /P -4 >>",
    ]
    return file_of(body, b" /Encrypt 4 0 R /ID [<00><00>]")


def file_of(body: Sequence[bytes], more: bytes = b"") -> bytes:
    """Objects 1, 2, ... with the table that finds them. more: goes into the trailer."""
    parts, places, size = [HEADER], [], len(HEADER)
    for number, entry in enumerate(body, start=1):
        places.append(size)
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, entry))
        size += len(parts[-1])
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(body) + 1) + b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (len(body) + 1, more, size)
    return b"".join([*parts, table, end])
