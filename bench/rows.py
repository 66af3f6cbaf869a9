"""Real rows for both sides: alpaca_zh_demo (1,000 Chinese instruction rows), the last ones held out to judge by.

Enters: the assets folder. Leaves: a dataset folder (rows.json, held_out.json, dataset_info.json) that both sides read.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.material import need

SOURCE = Path("data") / "llamafactory-demo" / "alpaca_zh_demo.json"


def read_rows(assets: Path) -> list[dict[str, str]]:
    return json.loads(need(assets / SOURCE, "alpaca_zh_demo").read_text(encoding="utf-8"))


def make_rows(assets: Path, work: Path, count: int, held_out: int = 16) -> Path:
    """A dataset folder of `count` training rows and, where rows are left, `held_out` others from the end of the file.

    More rows than the file has are its rows again with the row number in front, so that no two are equal.
    """
    source = read_rows(assets)
    rows = [dict(source[i % len(source)]) for i in range(count)]
    for i in range(len(source), count):
        rows[i]["instruction"] = f"{i}. {rows[i]['instruction']}"
    folder = work / "data" / f"rows-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "rows.json", rows)
    _write(folder / "held_out.json", source[-held_out:])
    _write(folder / "dataset_info.json", {"rows": {"file_name": "rows.json"}, "held_out": {"file_name": "held_out.json"}})
    return folder


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
