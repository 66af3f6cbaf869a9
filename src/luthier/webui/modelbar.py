"""The model bar above every page: which model, which method, which adapters, and what lies in the folder.

Enters: a Page.  Leaves: elements that write into page.model, the settings that all pages share.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from nicegui import background_tasks, run, ui

from luthier.config.docs import read_docs
from luthier.errors import LuthierError
from luthier.hub import prefers_modelscope
from luthier.templates.family import family_names
from luthier.webui.fields import Fields, typed_over
from luthier.webui.layout import choices_of, is_relevant, model_keys
from luthier.webui.models import Found, known_names, look, trained
from luthier.webui.page import Page
from luthier.webui.parts import button, is_gone


def model_bar(page: Page) -> None:
    """Draw it, and keep it in step with the settings."""
    Bar(page)


class Bar:
    """The controls and what is said below them."""

    def __init__(self, page: Page):
        self.page, self.form = page, page.model
        self.trained = trained()
        with ui.element("div").classes("modelrow"):
            self.model = self._model()
            self.method = self._method()
            self.adapters = self._adapters()
            self.template = self._template()
            self.more_button = button(page.t("model.more"), self._toggle_more, drawing="down").props("aria-expanded=false")
        self.more = ui.element("div").classes("modelmore")
        self.more.set_visibility(False)
        self.says = ui.html("", sanitize=False).classes("modelsays").props('role="status" data-test="model-says"')
        self.fields: Fields | None = None
        self.form.on_change(self._follow)
        background_tasks.create(self._look())

    # ---- controls ----

    def _model(self) -> ui.select:
        value = self.form.get("model_name_or_path") or "starter"
        names = list(dict.fromkeys([*known_names(), value]))
        words = {name: self._model_words(name) for name in names}
        made = ui.select(words, value=value, with_input=True, new_value_mode="add-unique", label=self.page.label("model"))
        made.on_value_change(lambda event: self.form.set("model_name_or_path", _text(event.value)))
        made.props('outlined dense stack-label options-dense input-debounce=100 data-test="model"')
        return typed_over(made)

    def _model_words(self, name: str) -> str:
        facts = self.trained.get(name)
        return f"{facts['name']} · {name}" if facts else name

    def _method(self) -> ui.select:
        doc = read_docs()["finetuning_type"]
        words = {value: self.page.choice("finetuning_type", value) for value in choices_of(doc)}
        value = self.form.get("finetuning_type") or doc.default
        made = ui.select(words, value=value, label=self.page.label("finetuning_type"))
        made.on_value_change(lambda event: self.form.set("finetuning_type", event.value))
        return made.props("outlined dense stack-label options-dense")

    def _adapters(self) -> ui.select:
        value = list(self.form.get("adapter_name_or_path") or [])
        words = {folder: self._adapter_words(folder) for folder, facts in self.trained.items() if facts["adapter"]}
        words |= {folder: Path(folder).name for folder in value if folder not in words}
        made = ui.select(words, value=value, multiple=True, with_input=True, new_value_mode="add-unique", clearable=True)
        made.on_value_change(lambda event: self.form.set("adapter_name_or_path", [str(name) for name in event.value or []]))
        label = escape(self.page.label("adapter_name_or_path"), quote=True)
        return made.props(f'outlined dense stack-label options-dense use-chips label="{label}" data-test="adapters"')

    def _adapter_words(self, folder: str) -> str:
        facts = self.trained[folder]
        return facts["name"] if facts["step"] is None else f"{facts['name']} · {self.page.t('step', step=facts['step'])}"

    def _template(self) -> ui.select:
        value = self.form.get("template") or "auto"
        words = {"auto": self.page.t("template.auto"), **{name: name for name in sorted(family_names())}}
        made = ui.select(words if value in words else {**words, value: value}, value=value, with_input=True)
        made.on_value_change(lambda event: self.form.set("template", None if event.value in (None, "auto") else event.value))
        label = escape(self.page.label("template"), quote=True)
        return typed_over(made.props(f'outlined dense stack-label options-dense label="{label}"'))

    def _toggle_more(self) -> None:
        visible = not self.more.visible
        self.more.set_visibility(visible)
        self.more_button.props(f"aria-expanded={str(visible).lower()}")
        if visible and self.fields is None:
            self.fields = Fields(self.page, self.form)
            with self.more:
                for key in model_keys():
                    self.fields.add(key)

    # ---- what is said ----

    def _follow(self, changed: set[str]) -> None:
        pairs = (("model_name_or_path", self.model, "starter"), ("finetuning_type", self.method, "lora"))
        for key, control, default in pairs:
            wanted = self.form.get(key) or default
            if key in changed and control.value != wanted:
                if wanted not in control.options:
                    control.set_options({**control.options, wanted: wanted})
                control.value = wanted
        if "adapter_name_or_path" in changed:
            wanted = list(self.form.get("adapter_name_or_path") or [])
            if list(self.adapters.value or []) != wanted:
                options = {
                    **self.adapters.options,
                    **{name: Path(name).name for name in wanted if name not in self.adapters.options},
                }
                self.adapters.set_options(options)
                self.adapters.value = wanted
        if "template" in changed and (self.form.get("template") or "auto") != self.template.value:
            self.template.value = self.form.get("template") or "auto"
        if changed & {"model_name_or_path", "hub", "template", "adapter_name_or_path", "finetuning_type"}:
            background_tasks.create(self._look())

    async def _look(self) -> None:
        name = self.form.get("model_name_or_path") or "starter"
        found = await run.io_bound(look, name)
        if is_gone(self.says):
            return
        self.says.set_content(self._words(name, found))
        self.adapters.set_visibility(
            is_relevant("lora_rank", self.form.settings()) or bool(self.form.get("adapter_name_or_path"))
        )

    def _words(self, name: str, found: Found) -> str:
        """One line on the model, with warnings."""
        t = self.page.t
        looks = {"complete": "good", "remote": "", "incomplete": "bad", "missing": "bad"}
        parts = [f'<span class="chip {looks[found.state]}">{escape(t("model." + found.state, hub=self._hub()))}</span>']
        facts = [found.architecture, found.size, t("model.context", context=f"{found.context:,}") if found.context else ""]
        parts += [f"<span>{escape(fact)}</span>" for fact in facts if fact]
        if found.state == "complete":
            parts.append(f"<span>{escape(t('model.has_template' if found.template else 'model.no_template'))}</span>")
        if found.state == "incomplete" and found.problem:
            key = "model.is_adapter" if found.problem == "adapter" else "model.lacks"
            parts.append(f'<span class="red">{escape(t(key, what=found.problem))}</span>')
        if found.state == "missing":
            parts.append(f'<span class="red">{escape(t("model.not_there"))}</span>')
        parts += [f'<span class="amber">{escape(warning)}</span>' for warning in self._warnings(name, found)]
        return "".join(parts)

    def _hub(self) -> str:
        return "ModelScope" if prefers_modelscope(self.form.get("hub") or "auto") else "Hugging Face"

    def _warnings(self, name: str, found: Found) -> list[str]:
        t, template = self.page.t, self.form.get("template")
        warnings = []
        if found.state == "complete" and template and found.template:
            warnings.append(t("template.disagrees", template=template))
        if found.state == "complete" and not template and not found.template:
            warnings.append(t("template.none"))
        for adapter in self.form.get("adapter_name_or_path") or []:
            base = self.trained.get(adapter, {}).get("base")
            if base and not _same_model(base, name):
                warnings.append(t("adapter.other_base", adapter=Path(adapter).name, base=base))
        if found.folder is not None and found.state != "remote":
            try:
                if name != "starter" and Path(name).expanduser().exists():
                    self.page.settings.allow(name, self.page.label("model"))
            except LuthierError as error:
                warnings.append(self.page.explain(error))
        return warnings


def _same_model(one: str, other: str) -> bool:
    return one == other or (Path(one).exists() and Path(other).exists() and Path(one).resolve() == Path(other).resolve())


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value else None
