"""A confusion matrix as a picture: rows are the references, columns the answers, shades the share of the row.

Enters: a LabelReport. Leaves: PNG bytes. Labels that no font of this machine can write are numbered, in the report's order.
"""

from __future__ import annotations

import io
import warnings

from luthier.evals.labels import OTHER, LabelReport

FONTS = [
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "PingFang SC",
    "Microsoft YaHei", "SimHei", "Arial Unicode MS",
]  # fmt: skip
"""Fonts with Chinese, best first. A collection (.ttc) is known to matplotlib by its first face, which for Noto is Japanese."""


PALE_TO_DEEP = ["#fffdf9", "#b9d6c7", "#1f5f4a"]


def confusion_png(report: LabelReport) -> bytes:
    """About 120 pixels a label."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    shades = LinearSegmentedColormap.from_list("spruce", PALE_TO_DEEP)
    font = None if "".join(report.labels).isascii() else _chinese_font()
    plain = font or "".join(report.labels).isascii()
    labels = report.labels if plain else tuple(map(str, range(1, len(report.labels) + 1)))
    names = [*labels, OTHER] if any(row[-1] for row in report.matrix) else labels
    counts = [row[: len(names)] for row in report.matrix]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    size = 2.5 + 0.6 * len(names)
    with matplotlib.rc_context({"font.family": ["DejaVu Sans", *([font] if font else [])]}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that no font has shows as a box
        figure = Figure(figsize=(size, size * 0.9), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set(
            xlabel="answer", ylabel="reference", title=f"accuracy {report.accuracy:.2f} %, macro F1 {report.macro_f1:.2f} %"
        )
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.75 else "black")
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _chinese_font() -> str | None:
    """The name of a font with Chinese, also of one installed after matplotlib last looked; None where there is none."""
    from matplotlib import font_manager

    known = {font.name for font in font_manager.fontManager.ttflist}
    if found := next((name for name in FONTS if name in known), None):
        return found
    files = sorted(font_manager.findSystemFonts(), key=lambda path: ("Sans" not in path, "Regular" not in path))
    file = next((path for path in files if "CJK" in path or "wqy" in path), None)
    if file is None:
        return None
    font_manager.fontManager.addfont(file)
    return font_manager.FontProperties(fname=file).get_name()
