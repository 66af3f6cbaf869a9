"""How rows are made: without a model or by an endpoint, which kinds of questions, whose voices, which words; and a pilot.

Enters: a Desk.  Leaves: project.yaml, written as soon as the whole is right. A key is only asked for by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import run as background
from nicegui import ui

from luthier.documents.jobs.keys import find_key
from luthier.documents.jobs.probe import probe
from luthier.documents.project import Project
from luthier.documents.prompts import SLOTS
from luthier.documents.recipe import KINDS
from luthier.errors import ConfigError, LuthierError
from luthier.runtime.progress import duration
from luthier.webui import documentjobs, recipeform
from luthier.webui.documentdesk import Desk
from luthier.webui.fields import fold
from luthier.webui.parts import button, card, plain_table, text_block
from luthier.webui.recipeform import Path, shares
from luthier.webui.words import locale, translate
from luthier.workflows.documents_pilot import UNITS

TYPING_MS = 500
SAMPLES = """SELECT question.text AS question, answer.text AS answer FROM question JOIN answer ON answer.question=question.id
    WHERE answer.origin='model' AND answer.state='current' ORDER BY answer.rowid DESC LIMIT 3"""


class RecipeForm:
    """A card a part; what is only for experts lies in folds."""

    def __init__(self, desk: Desk):
        self.desk, self.page = desk, desk.page
        self.words = locale(desk.page.lang)
        self.form: recipeform.RecipeForm

    async def draw(self) -> None:
        text = await self.desk.ask(lambda project: project.recipe_file.read_text(encoding="utf-8"))
        self.form, self.shown = recipeform.RecipeForm(text), text
        self.area: ui.textarea | None = None
        with ui.element("div").classes("two"):
            with ui.element("div").classes("col-24"):
                self._how()
                self._questions()
                self._folds()
            with ui.element("div").classes("col-24"):
                self.model_place = ui.element("div").classes("col-24")
                await self._draw_model()
        self.problem = ui.html("", sanitize=False).props('role="alert" data-test="recipe-problem"').classes("docs-problem")

    # ---- one field ----

    def _field(self, path: Path, make: Callable[[], Any], *, hint: str = "", full: bool = False) -> Any:
        """A name, a control, a line on what it means."""
        t, key = self.page.t, ".".join(path)
        with ui.element("div").classes("field" + (" full" if full else "")).props(f'data-recipe="{key}"'):
            text_block(t(f"recipe.{key}"), "strong")
            made = make()
            made.props(f'aria-label="{escape(t(f"recipe.{key}"), quote=True)}"')
            if hint or f"recipe.{key}.hint" in self.words:
                text_block(hint or t(f"recipe.{key}.hint"), "hint")
        return made

    def _select(self, path: Path, values: tuple[str, ...]) -> None:
        names = {value: self.page.t(f"recipe.{'.'.join(path)}.{value}") for value in values}
        made = self._field(path, lambda: ui.select(names, value=self.form.get(path)))
        made.props("outlined dense options-dense").on_value_change(lambda event: self._save(path, event.value))

    def _number(self, path: Path, *, whole: bool = True) -> None:
        value = self.form.get(path)
        made = self._field(path, lambda: ui.input(value="" if value is None else f"{value:g}"))
        made.props(f"outlined dense debounce={TYPING_MS} inputmode=decimal")
        made.on_value_change(lambda event: self._save(path, _number(event.value, whole=whole)))

    def _line(self, path: Path, *, full: bool = False, placeholder: str = "") -> None:
        made = self._field(path, lambda: ui.input(value=self.form.get(path) or "", placeholder=placeholder), full=full)
        made.props(f"outlined dense debounce={TYPING_MS}")
        made.on_value_change(lambda event: self._save(path, (event.value or "").strip() or None))

    def _switch(self, path: Path) -> None:
        made = self._field(path, lambda: ui.switch(value=bool(self.form.get(path))))
        made.props("dense").on_value_change(lambda event: self._save(path, bool(event.value)))

    async def _save(self, path: Path, value: Any) -> None:
        try:
            self.form.set(path, value)
            await self._write()
        except ConfigError as error:
            self._complain(error)
        if path[0] == "endpoint" or path == ("ask", "generator"):
            await self._say_key()

    async def _write(self) -> None:
        """Keep what is right. The old complaint goes first: one that comes while the file is written has to stay."""
        self.problem.set_content("")
        text = self.form.text()
        await self.desk.save_recipe(text)
        if self.area is not None and self.area.value == self.shown:  # nobody is typing in it
            self.area.value = text
        self.shown = text
        await self.desk.look_again()

    def _complain(self, error: LuthierError) -> None:
        lines = [self.page.t("recipe.unsaved"), self.page.explain(error)]
        self.problem.set_content(f'<div class="note">{escape(chr(10).join(lines))}</div>')

    # ---- the parts ----

    def _how(self) -> None:
        t = self.page.t
        with card(t("recipe.how"), t("recipe.how.hint")):
            words = {"extract": t("recipe.extract"), "model": t("recipe.model")}
            made = ui.toggle(words, value=self.form.get(("ask", "generator"))).classes("own-width")
            made.props('unelevated no-caps data-test="generator"')
            made.on_value_change(lambda event: self._take_generator(event.value))
            self.meaning = text_block(t(f"recipe.{self.form.get(('ask', 'generator'))}.hint"), "muted")

    async def _take_generator(self, value: str) -> None:
        self.meaning.set_content(escape(self.page.t(f"recipe.{value}.hint")))
        await self._save(("ask", "generator"), value)
        await self._draw_model()

    def _questions(self) -> None:
        t = self.page.t
        with card(t("recipe.questions"), t("recipe.questions.hint")):
            with ui.element("div").classes("fields"):
                self._select(("ask", "kind"), KINDS)
                self._select(("language",), ("auto", "zh", "en"))
                self._number(("ask", "max_per_chunk"))
                self._number(("ask", "per_1000_chars"), whole=False)
            self._mix(("ask", "types"))
            self._mix(("ask", "difficulties"))
            with ui.element("div").classes("fields"):
                self._field(("ask", "personas"), self._personas, full=True)
                self._number(("ask", "unanswerable"), whole=False)
                self._number(("answer", "turns"))
                self._line(("answer", "style"), full=True)

    def _personas(self) -> Any:
        value = list(self.form.get(("ask", "personas")) or [])
        made = ui.select(value, value=value, multiple=True, with_input=True, new_value_mode="add-unique")
        made.props("outlined dense use-chips hide-dropdown-icon input-debounce=0").classes("wide")
        made.on_value_change(lambda event: self._save(("ask", "personas"), [str(one) for one in event.value or []] or None))
        return made

    def _mix(self, path: Path) -> None:
        """Weights of a mix as small numbers, with the share that each makes."""
        t, key = self.page.t, ".".join(path)
        weights = dict(self.form.get(path))
        cells: dict[str, ui.html] = {}

        def show() -> None:
            for name, share in shares(weights).items():
                cells[name].set_content(f"{share:.0%}")

        async def take(name: str, value: str) -> None:
            weights[name] = _number(value, whole=False) or 0
            if all(isinstance(weight, int | float) for weight in weights.values()):
                show()
            await self._save(path, dict(weights))

        with ui.element("div").classes("field full").props(f'data-recipe="{key}"'):
            text_block(t(f"recipe.{key}"), "strong")
            with ui.element("div").classes("mix"):
                for name, weight in weights.items():
                    said = self.words.get(f"recipe.{key}.{name}", name)
                    with ui.element("div").classes("mixed"):
                        text_block(said, "small")
                        made = ui.input(value=f"{weight:g}").props(f"outlined dense debounce={TYPING_MS} inputmode=decimal")
                        made.props["aria-label"] = said
                        made.on_value_change(lambda event, name=name: take(name, event.value))
                        cells[name] = ui.html("", sanitize=False, tag="span").classes("small muted num")
            show()
            text_block(t(f"recipe.{key}.hint"), "hint")

    # ---- the model ----

    async def _draw_model(self) -> None:
        t = self.page.t
        self.model_place.clear()
        with self.model_place:
            if self.form.get(("ask", "generator")) != "model":
                with card(t("recipe.offline"), ""):
                    text_block(t("recipe.offline.text"))
                return
            with card(t("recipe.endpoint"), t("recipe.endpoint.hint")):
                with ui.element("div").classes("fields"):
                    self._line(("endpoint", "base_url"), full=True, placeholder="http://127.0.0.1:8000/v1")
                    self._line(("endpoint", "model"))
                    self._line(("endpoint", "api_key_env"))
                    self._number(("endpoint", "concurrency"))
                    self._number(("endpoint", "requests_per_minute"))
                    self._number(("endpoint", "price_in"), whole=False)
                    self._number(("endpoint", "price_out"), whole=False)
                self.key = ui.html("", sanitize=False).props('role="status" data-test="key"')
                with ui.element("div").classes("row-8"):
                    button(t("recipe.probe"), self._probe, drawing="bolt").props('data-test="probe"')
                self.probed = ui.html("", sanitize=False).props('role="status"')
            with card(t("recipe.pilot"), t("recipe.pilot.hint")):
                with ui.element("div").classes("fields"):
                    self._number(("budget", "pilot"))
                    self._number(("budget", "money"), whole=False)
                    self._number(("budget", "tokens"))
                with ui.element("div").classes("row-8"):
                    count = self.form.get(("budget", "pilot")) or UNITS
                    button(t("recipe.pilot.start", count=count), self._pilot, drawing="play").props('data-test="pilot"')
                self.estimate_place = ui.element("div").classes("col-8")
                await self.after_job()
            with card(t("recipe.judge"), t("recipe.judge.hint")), ui.element("div").classes("fields"):
                self._switch(("judge", "enabled"))
                self._line(("judge", "model"))
                self._number(("judge", "min_supported"), whole=False)
                self._number(("judge", "min_useful"), whole=False)
            await self._say_key()

    async def _say_key(self) -> None:
        """Whether there is a key under that name; never the key."""
        if self.form.get(("ask", "generator")) != "model" or not hasattr(self, "key"):
            return
        name = str(self.form.get(("endpoint", "api_key_env")) or "")
        there = await background.io_bound(lambda: bool(name and find_key(name)))
        words = self.page.t("recipe.key.found" if there else "recipe.key.none", name=name)
        self.key.set_content(f'<div class="note{" good" if there else ""}">{escape(words)}</div>')

    async def _probe(self) -> None:
        t = self.page.t
        self.probed.set_content(f'<p class="muted">{escape(t("forecast.working"))}</p>')
        try:
            found = await background.io_bound(probe, self.form.right.endpoint)
        except LuthierError as error:
            self.probed.set_content(f'<div class="note bad">{escape(self.page.explain(error))}</div>')
            return
        json = t("recipe.probe.json") if found.json else t("recipe.probe.no_json")
        mode = t("recipe.probe.mode") if found.json_mode else t("recipe.probe.no_mode")
        thinks = t("recipe.probe.thinks", field=found.reasoning) if found.reasoning else t("recipe.probe.no_thinking")
        speed = t("recipe.probe.speed", seconds=f"{found.seconds:.1f}", tokens=f"{found.tokens_per_s:.0f}")
        lines = "\n".join([found.model, json, mode, thinks, speed])
        self.probed.set_content(f'<div class="note{" good" if found.json else ""}">{escape(lines)}</div>')

    async def _pilot(self) -> None:
        try:
            await background.io_bound(lambda: documentjobs.start(self.desk.folder, "pilot"))
        except LuthierError as error:
            self.page.complain(error)
            return
        await self.desk.look_again()

    async def after_job(self) -> None:
        """What a pilot found; what somebody is typing stays."""
        if self.form.get(("ask", "generator")) == "model":
            self.estimate_place.clear()
            with self.estimate_place:
                await self._estimate()

    async def _estimate(self) -> None:
        """What the last pilot found, and some of its rows."""
        t = self.page.t
        work, samples = await self.desk.ask(lambda project: (documentjobs.work_of(project), _samples(project)))
        if work["verb"] != "pilot" or work["state"] != "finished":
            return
        found = work["result"]
        heads = ["stage", "tried", "left", "tokens", "time"] + (["money"] if found[0]["money"] is not None else [])
        rows = []
        for one in found:
            tried = f"{one['done'] + one['failed']:,}" + (
                f" ({t('docs.failed', count=one['failed'])})" if one["failed"] else ""
            )
            row = [t(f"docs.stage.{one['stage']}"), tried, f"{one['left']:,}"]
            row += [f"{one['tokens_in'] + one['tokens_out']:,}", duration(one["seconds"])]
            rows.append(row + ([f"{one['money']:,.3f}"] if one["money"] is not None else []))
        money = [one["money"] for one in found if one["money"] is not None]
        total = [t("docs.total"), "", f"{sum(one['left'] for one in found):,}"]
        total += [
            f"{sum(one['tokens_in'] + one['tokens_out'] for one in found):,}",
            duration(sum(one["seconds"] for one in found)),
        ]
        rows.append(total + ([f"{sum(money):,.3f}"] if money else []))
        table = plain_table([t(f"docs.estimate.{head}") for head in heads], rows, numeric=range(1, len(heads)))
        ui.html(table, sanitize=False).classes("scroll-x").props('data-test="estimate"')
        for sample in samples:
            with ui.element("div").classes("docs-sample"):
                text_block(sample["question"], "strong break")
                text_block(sample["answer"][:400], "break")

    # ---- folds ----

    def _folds(self) -> None:
        t = self.page.t
        with ui.element("section").classes("card"):
            text_block(t("train.more"), tag="h2")
            with ui.element("div"):
                fold(t("recipe.prompts"), t("recipe.prompts.hint"), self._prompts)
                fold(t("recipe.chunks"), t("recipe.chunks.hint"), self._chunks)
                fold(t("recipe.yaml"), t("recipe.yaml.hint"), self._yaml)

    def _chunks(self) -> None:
        with ui.element("div").classes("fields"):
            self._number(("chunk", "max_chars"))
            self._number(("chunk", "min_chars"))
            self._number(("split", "val"), whole=False)
            self._number(("split", "test"), whole=False)
            self._select(("split", "by"), ("auto", "document", "section"))
            self._number(("ask", "held_out"), whole=False)
            self._select(("answer", "reasoning"), ("keep", "drop"))
            self._line(("answer", "weaker"))
            self._switch(("clean", "model"))

    def _prompts(self) -> None:
        t = self.page.t
        shown = {"stage": "ask", "language": self.page.lang}
        with ui.element("div").classes("row-8"):
            stages = {stage: t(f"docs.stage.{stage}") for stage in recipeform.prompt_stages()}
            which = ui.select(stages, value="ask").props(
                f'outlined dense options-dense aria-label="{t("docs.estimate.stage")}" data-test="prompt-stage"'
            )
            language = ui.toggle({"zh": "中文", "en": "English"}, value=self.page.lang).props("unelevated no-caps")
        area = ui.textarea(value=self.form.prompt("ask", self.page.lang)).classes("wide mono-area")
        area.props(f'outlined dense autogrow aria-label="{t("recipe.prompts")}" data-test="prompt"')
        slots = ui.html("", sanitize=False)
        said = ui.html("", sanitize=False).props('role="alert" data-test="prompt-problem"')

        def show() -> None:
            area.value = self.form.prompt(shown["stage"], shown["language"])
            names = " ".join(f'<code class="chip">{{{{{name}}}}}</code>' for name in SLOTS[shown["stage"]])
            own = t("recipe.prompts.own") if self.form.is_own_prompt(**shown) else t("recipe.prompts.luthier")
            slots.set_content(f'<div class="row-8 small muted"><span>{escape(own)}</span>{names}</div>')
            said.set_content("")

        async def keep(text: str | None) -> None:
            try:
                self.form.set_prompt(shown["stage"], shown["language"], text)
                await self._write()
            except ConfigError as error:
                said.set_content(f'<div class="note bad">{escape(self.page.explain(error))}</div>')
                return
            show()
            self.page.tell("recipe.prompts.saved")

        def choose(key: str, value: str) -> None:
            shown[key] = value
            show()

        which.on_value_change(lambda event: choose("stage", event.value))
        language.on_value_change(lambda event: choose("language", event.value))
        with ui.element("div").classes("row-8"):
            button(t("recipe.prompts.save"), lambda: keep(area.value), drawing="save").props('data-test="save-prompt"')
            button(t("recipe.prompts.back"), lambda: keep(None), kind="quiet")
        show()

    def _yaml(self) -> None:
        t = self.page.t
        text_block(t("recipe.yaml.text"), "muted small")
        area = self.area = ui.textarea(value=self.shown).classes("wide mono-area")
        area.props('outlined dense autogrow aria-label="project.yaml" data-test="yaml"')
        said = ui.html("", sanitize=False).props('role="alert"')

        async def keep() -> None:
            try:
                await self.desk.save_recipe(area.value or "")
            except ConfigError as error:
                words = "\n".join(translate(self.page.lang, line) for line in str(error).splitlines())
                said.set_content(f'<div class="note bad">{escape(words)}</div>')
                return
            self.page.tell("recipe.saved")
            await self.desk.go("recipe")

        with ui.element("div").classes("row-8"):
            button(t("recipe.yaml.save"), keep, drawing="save").props('data-test="save-yaml"')


def _samples(project: Project) -> list[dict[str, Any]]:
    return [dict(row) for row in project.store.all(SAMPLES)]


def _number(text: str | None, *, whole: bool) -> Any:
    """What was typed as a number; what is none stays text, to be complained of."""
    word = (text or "").strip()
    if not word:
        return None
    try:
        number = float(word)
    except ValueError:
        return word
    return int(number) if whole and number.is_integer() else number
