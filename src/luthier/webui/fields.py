"""One configuration key as a field: name, control, one line of meaning, a "why" behind it, and what is wrong with it.

Enters: a key and the form it belongs to.  Leaves: elements that write into the form as they are typed.  How a key is drawn
follows
from its docs alone: a new key needs nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import ui

from luthier.config.docs import Doc, read_docs
from luthier.config.reference import show_value, show_values
from luthier.webui.form import Form
from luthier.webui.layout import choices_of
from luthier.webui.page import Page
from luthier.webui.parts import button, text_block
from luthier.webui.words import translate

TYPING_MS = 350
COMPUTE = {"bf16": "bf16", "fp16": "fp16", "pure_bf16": "pure_bf16"}


class Field:
    """control: what is typed into.  sync() shows what the form holds now; complain() says what is wrong, or nothing."""

    def __init__(self, page: Page, form: Form, key: str):
        self.page, self.form, self.key = page, form, key
        self.doc: Doc | None = read_docs().get(key)
        with ui.element("div").classes("field").props(f'data-key="{key}"') as self.box:
            with ui.element("div").classes("name"):
                text_block(page.label(key), "lab", "span").props(f'id="lab-{key}"')
                self._why()
            self.control = self._control()
            text_block(self._hint(), "hint")
            self.problem = ui.html("", sanitize=False).classes("problem").props('role="alert"')
            self.advice = ui.element("div").classes("advice")

    # ---- what it says ----

    def _hint(self) -> str:
        if self.doc is None:
            return self.page.t(f"hint.{self.key}")
        return self.doc.meaning(self.page.lang)

    def _why(self) -> None:
        label = self.page.t("why", name=self.page.label(self.key))
        made = button("", drawing="why", kind="icon", tiny=True).props(f'aria-label="{escape(label, quote=True)}"')
        with made, ui.menu().props("anchor='bottom left' self='top left'") as menu, ui.element("div").classes("popup"):
            facts = ui.element("div").classes("col-8")

        def fill() -> None:  # hundreds of fields: nothing is drawn that nobody opens
            if not facts.default_slot.children:
                with facts:
                    self._facts()

        menu.on("before-show", fill)

    def _facts(self) -> None:
        page, doc = self.page, self.doc
        text_block(page.label(self.key), "strong")
        text_block(self._hint())
        if doc is None:
            return
        if advice := doc.advice(page.lang):
            text_block(f"{page.t('when')} {advice}")
        default = show_value(doc.default, page.lang)
        text_block(
            f"{page.t('values')} {show_values(doc, page.lang)}\n{page.t('default')} {default}", "muted small break"
        ).style("white-space: pre-line")
        text_block(self.key, "mono muted", "code")

    def complain(self, text: str) -> None:
        """What is wrong, in the reader's language; "" for nothing."""
        shown = translate(self.page.lang, text.removeprefix(f"{self.key}: "))
        self.problem.set_content(escape(shown))
        self.control.classes(**({"add": "wrong"} if text else {"remove": "wrong"}))

    def advise(self, text: str, value: Any = None) -> None:
        """A hint that belongs to this model and data, with a button that takes it; "" for none."""
        self.advice.clear()
        if text:
            with self.advice:
                text_block(text, tag="span")
                if value is not None:
                    shown = f"{value:g}" if isinstance(value, float) else str(value)
                    button(self.page.t("take", value=shown), lambda: self.form.set(self.key, value), kind="plain", tiny=True)

    def show(self, visible: bool) -> None:
        """In sight or not."""
        self.box.set_visibility(visible)

    # ---- what is typed ----

    def sync(self) -> None:
        """Show what the form holds, where it changed elsewhere."""
        shown = self._shown(self.form.get(self.key))
        if self.control.value != shown:
            self.control.value = shown

    def _control(self) -> Any:
        doc = self.doc
        if self.key == "compute_type":
            return self._select({"": self.page.t("compute.auto"), **COMPUTE}, self._take_compute)
        assert doc is not None
        if doc.type == "bool" and not doc.optional:
            return self._toggle(bool(doc.default))
        if doc.type == "bool":
            words = {"": show_value(doc.default, self.page.lang), "true": self.page.t("yes"), "false": self.page.t("no")}
            return self._select(words, lambda value: self._take({"true": True, "false": False}.get(value)))
        if choices_of(doc) and doc.type != "list":
            return self._choices(doc)
        if doc.type == "list":
            return self._list(doc)
        if doc.type == "mapping":
            return self._text(doc, area=True)
        return self._text(doc, numeric=doc.type in ("int", "float"))

    def _choices(self, doc: Doc) -> ui.select:
        words = {str(value): self.page.choice(doc.key, value) for value in choices_of(doc)}
        if doc.optional or str(doc.default) not in words:
            words = {"": show_value(doc.default, self.page.lang), **words}
        native = {str(value): value for value in choices_of(doc)}
        return self._select(words, lambda value: self._take(native.get(value)))

    def _select(self, words: Mapping[str, str], take: Callable[[str], None]) -> ui.select:
        shown = self._shown(self.form.get(self.key))
        if shown not in words:
            words = {**words, shown: str(shown)}
        made = ui.select(dict(words), value=shown, on_change=lambda event: take(event.value))
        return made.props(f'outlined dense options-dense aria-label="{self._aria()}"').classes("wide")

    def _toggle(self, default: bool) -> ui.switch:
        made = ui.switch(value=bool(self._shown(self.form.get(self.key))))
        made.on_value_change(lambda event: self._take(None if event.value == default else event.value))
        return made.props(f'dense aria-label="{self._aria()}"')

    def _list(self, doc: Doc) -> ui.select:
        value = self._shown(self.form.get(self.key))
        made = ui.select(list(value), value=value, multiple=True, with_input=True, new_value_mode="add-unique")
        made.on_value_change(lambda event: self._take([str(item) for item in event.value or []] or None))
        made.props(f'outlined dense use-chips hide-dropdown-icon input-debounce=0 aria-label="{self._aria()}"').classes("wide")
        return made.props(f'placeholder="{escape(show_value(doc.default, self.page.lang), quote=True)}"') if not value else made

    def _text(self, doc: Doc, *, area: bool = False, numeric: bool = False) -> Any:
        make = ui.textarea if area else ui.input
        made = make(value=self._shown(self.form.get(self.key)))
        made.on_value_change(lambda event: self._take_text(doc, event.value or ""))
        default = escape(show_value(doc.default, self.page.lang), quote=True)
        props = f'outlined dense debounce={TYPING_MS} placeholder="{default}" aria-label="{self._aria()}"'
        return made.props(props + (" inputmode=decimal" if numeric else "") + (" autogrow" if area else "")).classes("wide")

    def _aria(self) -> str:
        return escape(self.page.label(self.key), quote=True)

    def _take_text(self, doc: Doc, text: str) -> None:
        self._take(read_text(doc, text))

    def _take(self, value: Any) -> None:
        self.form.set(self.key, value)

    def _take_compute(self, value: str) -> None:
        self.form.update({key: True if key == value else None for key in COMPUTE})

    def _shown(self, value: Any) -> Any:
        doc = self.doc
        if self.key == "compute_type":
            return next((key for key in COMPUTE if self.form.get(key)), "")
        assert doc is not None
        if doc.type == "bool" and not doc.optional:
            return doc.default if value is None else value
        if doc.type == "list":
            return [str(item) for item in value or []]
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False)
        if value is None:
            return str(doc.default) if not doc.optional and doc.default in choices_of(doc) else ""
        return show_value(value, "en") if isinstance(value, bool | float) else str(value)


def typed_over(made: ui.select) -> ui.select:
    """A select that shows its choice as text, marked when it is entered: what is typed then replaces it."""
    mark = "(event) => setTimeout(() => event.target.select && event.target.select(), 60)"
    return made.props("fill-input hide-selected").on("focus", js_handler=mark)


class Suggested(Field):
    """A field that offers names; any other may be typed."""

    def suggestions(self) -> dict[str, str]:
        """Value -> what it is called."""
        raise NotImplementedError

    def _control(self) -> ui.select:
        assert self.doc is not None
        several = self.doc.type == "list"
        value = self._shown(self.form.get(self.key)) or ([] if several else None)
        words = self.suggestions()
        words |= {name: name for name in (value if several else [value]) if name and name not in words}
        made = ui.select(words, value=value, multiple=several, with_input=True, new_value_mode="add-unique", clearable=True)
        made.on_value_change(lambda event: self._take([str(name) for name in event.value or []] if several else event.value))
        made.props(f'outlined dense options-dense input-debounce=0 aria-label="{self._aria()}" data-test="{self.key}"')
        return (made.props("use-chips") if several else typed_over(made)).classes("wide")

    def sync(self) -> None:
        """Show what the form holds, also where it is none of the suggestions."""
        value = self._shown(self.form.get(self.key)) or ([] if self.doc and self.doc.type == "list" else None)
        if self.control.value != value:
            names = value if isinstance(value, list) else [value] if value else []
            self.control.set_options({**self.control.options, **{name: name for name in names}}, value=value)


def read_text(doc: Doc, text: str) -> Any:
    """What was typed, as a plain value; what makes no sense stays text, to be complained of."""
    word = text.strip()
    if not word:
        return None
    if doc.type in ("int", "float"):
        try:
            number = float(word)
        except ValueError:
            return word
        whole = number.is_integer() and abs(number) < 2**53 and not any(char in word.lower() for char in ".en")
        return int(number) if doc.type == "int" and number.is_integer() else int(number) if whole else number
    if doc.type == "mapping" or word.startswith("{"):
        try:
            return json.loads(word)
        except ValueError:
            return word
    return text


class Fields:
    """Several fields of one form, kept in step with it."""

    def __init__(self, page: Page, form: Form):
        self.page, self.form = page, form
        self.by_key: dict[str, Field] = {}
        self.problems: dict[str, str] = {}
        form.on_change(self._follow)

    def add(self, key: str, kind: type[Field] = Field) -> Field:
        """Draw one field here."""
        field = self.by_key[key] = kind(self.page, self.form, key)
        if self.problems.get(key):
            field.complain(self.problems[key])
        return field

    def complain(self, problems: Mapping[str, str]) -> dict[str, str]:
        """Each complaint at its field; returns those of keys that are not in sight."""
        for key in {*self.problems, *problems} & set(self.by_key):
            self.by_key[key].complain(problems.get(key, ""))
        self.problems = dict(problems)
        return {key: text for key, text in problems.items() if key not in self.by_key}

    def _follow(self, changed: set[str]) -> None:
        for key in changed & set(self.by_key):
            self.by_key[key].sync()
        if changed & set(COMPUTE) and "compute_type" in self.by_key:
            self.by_key["compute_type"].sync()


def fold(title: str, caption: str, build: Callable[[], None]) -> ui.expansion:
    """A group that is drawn when it is opened for the first time."""
    name = escape(f"{title} {caption}", quote=True)
    made = ui.expansion().classes("fold wide").props(f'dense-toggle toggle-aria-label="{name}"')
    with made.add_slot("header"):
        words = f'<span class="strong">{escape(title)}</span> <span class="muted small">{escape(caption)}</span>'
        ui.html(words, sanitize=False, tag="span").classes("grow")

    def open_it(event: Any) -> None:
        if event.value and not made.default_slot.children:
            with made:
                build()

    made.on_value_change(open_it)
    return made
