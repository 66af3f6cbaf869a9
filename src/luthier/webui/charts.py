"""Series as ECharts options, in the colours of the page, with axes that can be read.

Enters: thinned series of one or more runs.  Leaves: a plain dict. Numbers are shown with at most four digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Series = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The colours of one look of the page."""

    ink: str
    muted: str
    rule: str
    card: str
    lines: tuple[str, ...]


LIGHT = Look(
    ink="#2b2824", muted="#6a6257", rule="#e4ddd0", card="#fffdf9",
    lines=("#1f5f4a", "#c8811a", "#43679c", "#8a4f7d", "#a33a2c", "#7a7a2e", "#2f8f9d", "#6b5b4d"),
)  # fmt: skip
DARK = Look(
    ink="#ece5d9", muted="#a99f90", rule="#37332c", card="#1f1d19",
    lines=("#84c5a8", "#e2a748", "#8fb0de", "#cf9bc4", "#ea9583", "#c3c26c", "#7cc6d1", "#b9a794"),
)  # fmt: skip
FONT = "system-ui, 'Noto Sans', 'Noto Sans SC', 'Noto Sans CJK SC', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve. number: its colour.  faint: drawn pale, behind a smoothed one.  dots: points are marked (few evaluations)."""

    name: str
    points: Series
    number: int = 0
    faint: bool = False
    dots: bool = False
    dashed: bool = False


def line_chart(lines: Sequence[Line], *, dark: bool, x: str, y: str, log: bool = False, zoom: bool = True) -> dict[str, Any]:
    """Curves over steps. x, y: what the axes mean."""
    look = DARK if dark else LIGHT
    named = list(dict.fromkeys(line.name for line in lines if not line.faint))
    options: dict[str, Any] = {
        "animation": False,
        "textStyle": {"fontFamily": FONT},
        "aria": {"enabled": True, "label": {"description": f"{y}: {', '.join(named)}"}},
        "grid": {"left": 56, "right": 16, "top": 40 if len(named) > 1 else 28, "bottom": 64 if zoom else 40},
        "tooltip": _tooltip(look),
        "xAxis": _axis(look, x, "value", place="middle", gap=28) | {"min": "dataMin", "max": "dataMax", "minInterval": 1},
        "yAxis": _axis(look, y, "log" if log else "value", place="end", gap=10) | {"scale": True},
        "series": [_line(line, look) for line in lines],
    }
    if len(named) > 1:
        options["legend"] = {
            "data": named, "top": 0, "right": 0, "type": "scroll", "itemWidth": 16, "itemHeight": 8, "icon": "roundRect",
            "textStyle": {"color": look.muted, "fontSize": 12},
        }  # fmt: skip
    if zoom:
        options["dataZoom"] = [
            {"type": "inside", "filterMode": "none"},
            {
                "type": "slider", "height": 12, "bottom": 4, "filterMode": "none", "showDetail": False, "showDataShadow": False,
                "borderColor": look.rule, "fillerColor": look.rule, "backgroundColor": "transparent",
                "handleStyle": {"color": look.card, "borderColor": look.muted}, "moveHandleSize": 0, "brushSelect": False,
            },
        ]  # fmt: skip
    return options


def bar_chart(names: Sequence[str], values: Sequence[float], *, dark: bool, x: str, y: str) -> dict[str, Any]:
    """Counts by name."""
    look = DARK if dark else LIGHT
    return {
        "animation": False,
        "textStyle": {"fontFamily": FONT},
        "grid": {"left": 56, "right": 16, "top": 28, "bottom": 40},
        "tooltip": _tooltip(look) | {"axisPointer": {"type": "shadow"}},
        "xAxis": _axis(look, x, "category", place="middle", gap=28) | {"data": list(names)},
        "yAxis": _axis(look, y, "value", place="end", gap=10),
        "series": [{"type": "bar", "data": list(values), "itemStyle": {"color": look.lines[0]}, "barMaxWidth": 40}],
    }


def _axis(look: Look, name: str, kind: str, *, place: str, gap: int) -> dict[str, Any]:
    return {
        "type": kind,
        "name": name,
        "nameLocation": place,
        "nameGap": gap,
        "nameTextStyle": {"color": look.muted, "fontSize": 12, "align": "left" if place == "end" else "center"},
        "axisLabel": {"color": look.muted, "fontSize": 12, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": look.rule}, "show": place == "middle"},
        "axisTick": {"show": False},
        "splitLine": {"lineStyle": {"color": look.rule}, "show": place == "end"},
    }


def _tooltip(look: Look) -> dict[str, Any]:
    return {
        "trigger": "axis",
        "backgroundColor": look.card,
        "borderColor": look.rule,
        "textStyle": {"color": look.ink, "fontSize": 12},
        "confine": True,
        "axisPointer": {"lineStyle": {"color": look.muted}},
    }


def _line(line: Line, look: Look) -> dict[str, Any]:
    colour = look.lines[line.number % len(look.lines)]
    return {
        "type": "line",
        "name": line.name,
        "data": [[x, digits(y)] for x, y in line.points],
        "showSymbol": line.dots,
        "symbol": "circle",
        "symbolSize": 6,
        "color": colour,
        "lineStyle": {
            "width": 1 if line.faint else 2, "opacity": 0.35 if line.faint else 1, "type": "dashed" if line.dashed else "solid",
        },
        "tooltip": {"show": not line.faint},
        "silent": line.faint,
        "z": 1 if line.faint else 3,
    }  # fmt: skip


def digits(value: float) -> float:
    """Four digits that mean something."""
    return float(f"{value:.4g}")


def loss_lines(curves: Mapping[str, Series], smoothed: Mapping[str, Series], words: Mapping[str, str]) -> list[Line]:
    """The training loss pale, its smoothed course over it, the evaluation beside it with dots."""
    lines = []
    if "loss" in curves:
        if "loss" in smoothed:
            lines.append(Line(name=words["loss"], points=curves["loss"], number=0, faint=True))
        lines.append(Line(name=words["loss"], points=smoothed.get("loss", curves["loss"]), number=0))
    if "eval_loss" in curves:
        lines.append(Line(name=words["eval_loss"], points=curves["eval_loss"], number=1, dots=len(curves["eval_loss"]) < 60))
    return lines
