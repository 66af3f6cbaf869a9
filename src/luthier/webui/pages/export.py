"""Export: write a model as other tools load it, see the proof, and the commands that use it.

Enters: a Page.  Leaves: export runs (a run folder with the log, an export_dir with the model).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from luthier.runs import Run, shown_path
from luthier.webui import jobs
from luthier.webui.formpage import FormPage
from luthier.webui.liverun import LiveRun
from luthier.webui.page import Page
from luthier.webui.parts import card, code_block, empty, text_block
from luthier.workflows.keep import RECORD


async def build(page: Page) -> None:
    """Draw the page."""
    ExportPage(page)


class ExportPage(FormPage):
    """The form to the left, the export and what to do with it to the right."""

    name = verb = "export"
    written = "export_dir"
    needed = ()

    def __init__(self, page: Page):
        super().__init__(page)
        self.head()
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self.draw_sections()
                self.draw_folds()
            with ui.element("div").classes("bench"):
                with card(page.t("export.start")):
                    self._start_box()
                with card():
                    self.live = ui.element("div").classes("col-16")
        self.form.on_change(self.follow)
        self.follow(set())
        self.show_run(self.last_run())

    def _start_box(self) -> None:
        self.what = text_block("", "muted")
        self.draw_start(self.page.t("export.start"), "export")

    def followed(self, settings: dict[str, Any], problems: dict[str, str]) -> None:
        """Say what will be written."""
        key = "export.what" if settings.get("adapter_name_or_path") else "export.no_adapter"
        self.what.set_content(escape(self.page.t(key)))

    def fresh_folder(self) -> str:
        """exports/model-format"""
        names = self.page.model.get("adapter_name_or_path") or [self.page.model.get("model_name_or_path") or "starter"]
        return f"exports/{Path(names[-1]).name}-{self.form.get('export_format') or 'merged'}"

    def start_job(self, settings: dict[str, Any]) -> Run:
        """The log and the state of an export lie in a run folder of their own."""
        folder = f"saves/export/{Path(settings['export_dir']).name}-{datetime.now():%Y-%m-%d-%H%M%S}"
        return jobs.start("export", settings | {"output_dir": folder})

    def is_taken(self, folder: Path) -> bool:
        """Whether folder holds anything."""
        return folder.is_dir() and any(folder.iterdir())

    def show_run(self, run: Run | None) -> None:
        """Its log, its proof, and what to do with it."""
        self.live.clear()
        with self.live:
            if run is None:
                empty(self.page, "export.none", "export.none.hint")
                return
            LiveRun(self.page, run, on_state=lambda state: self._show_use(run) if state == "finished" else None)
            self.use = ui.element("div").classes("col-8")

    def _show_use(self, run: Run) -> None:
        settings = run.saved_config()
        folder = Path(str(settings["export_dir"])).expanduser()
        with self.use:
            text_block(self.page.t("export.proof"), tag="h3")
            ui.html(_proof(self.page, folder), sanitize=False).props('data-test="proof"')
            text_block(self.page.t("export.use"), tag="h3")
            code_block(self.page, commands(settings), "use")


def _proof(page: Page, folder: Path) -> str:
    """What was measured when the export was loaded again, in words and numbers."""
    t, proof = page.t, proof_of(folder)
    if not proof:
        return f'<div class="note">{escape(t("export.no_proof"))}</div>'
    tiles = [
        ("export.same_token", f"{100 * proof['same_likeliest_token']:.1f} %"),
        ("export.logits", f"{proof['max_logit_difference']:.2g}"),
        ("export.logps", f"{proof['max_relative_logp_difference']:.2g}"),
    ]
    if "kl_divergence" in proof:  # exports of earlier versions carry none
        tiles.append(("export.kl", f"{proof['kl_divergence']:.2g}"))
    cells = "".join(f'<div class="tile"><span>{escape(t(key))}</span><b>{text}</b></div>' for key, text in tiles)
    return (
        f'<div class="col-8"><div class="tiles">{cells}</div><p class="small muted">{escape(t("export.proof.hint"))}</p></div>'
    )


def proof_of(folder: Path) -> dict[str, float]:
    """The measured differences that an export carries; {} where nobody asked for them, or the folder is gone."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(record.get("exported", {}).get("proof") or {})


def commands(settings: Mapping[str, Any]) -> str:
    """The lines that run the export in the tools it was made for."""
    folder = Path(str(settings["export_dir"])).expanduser()
    shown = shlex.quote(shown_path(folder.resolve()))
    ggufs = sorted(folder.glob("*.gguf"))
    if not ggufs:
        lines = [f"luthier chat --model_name_or_path {shown}", f"vllm serve {shown}"]
        return "\n".join([*lines, f"python -m sglang.launch_server --model-path {shown}"])
    file = shlex.quote(shown_path(ggufs[0].resolve()))
    if settings.get("export_format") == "gguf_lora":
        return f"llama-cli -m BASE.gguf --lora {file} -cnv\nllama-server -m BASE.gguf --lora {file} --port 8080"
    lines = [f"llama-cli -m {file} -cnv", f"llama-server -m {file} --port 8080"]
    if (folder / "Modelfile").is_file():
        name = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower())
        lines += [f"ollama create {name} -f {shown}/Modelfile", f"ollama run {name}"]
    return "\n".join(lines)
