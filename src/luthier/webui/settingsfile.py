"""Settings as a command or a YAML file to take away, and back from such a file into the form.

Enters: the settings of a page.  Leaves: dialogs and files; nothing is written on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml
from nicegui import events, ui

from luthier.config.docs import read_docs
from luthier.errors import ConfigError, LuthierError
from luthier.webui.commands import command_line, yaml_of
from luthier.webui.form import Form, check
from luthier.webui.page import Page
from luthier.webui.parts import button, code_block, dialog, icon_button, take_drops, text_block

MODEL_GROUPS = ("model", "quantization")
MODEL_KEYS = ("finetuning_type", "template")
LEFT_OUT = ("do_train", "do_predict", "output_dir", "overwrite_output_dir", "resume_from_checkpoint", "predict_with_generate")
"""Keys of a run that say what it did, not how; a form that takes its settings leaves them."""


def preview_buttons(page: Page, verb: Callable[[], str], settings: Callable[[], Mapping[str, Any]]) -> None:
    """Show the command, show the YAML."""

    def show(title: str, make: Callable[[Mapping[str, Any]], str], name: str) -> None:
        try:
            text = make(settings())
        except LuthierError as error:
            page.complain(error)
            return
        with dialog(page.t(title)):
            code_block(page, text, name)

    button(page.t("show_command"), lambda: show("show_command.title", lambda s: command_line(verb(), s), "command")).props(
        'data-test="show-command"'
    )
    button("YAML", lambda: show("show_yaml.title", yaml_of, "yaml")).props('data-test="show-yaml"')


def save_button(page: Page, verb: str, settings: Callable[[], Mapping[str, Any]]) -> None:
    """The settings as a file in the browser's downloads."""

    def save() -> None:
        kept = {key: value for key, value in settings().items() if key != "output_dir"}
        ui.download.content(yaml_of(kept), f"luthier-{verb}.yaml", "application/yaml")

    icon_button(page.t("save_settings"), "save", save)


def load_button(page: Page, form: Form) -> None:
    """Settings from a file of the reader's."""

    def ask() -> None:
        with dialog(page.t("load_settings"), narrow=True) as opened:
            text_block(page.t("load_settings.hint"))

            async def take(event: events.UploadEventArguments) -> None:
                try:
                    text = (await event.file.read()).decode("utf-8-sig")
                    fill(page, form, read_yaml(text))
                    opened.close()
                    page.tell("load_settings.done")
                except UnicodeDecodeError:
                    page.complain(page.t("load_settings.no_text"))
                except LuthierError as error:
                    page.complain(error)

            upload = ui.upload(on_upload=take, auto_upload=True, max_file_size=1 << 20, max_files=1)
            upload.props('accept=".yaml,.yml,.json" flat')
            take_drops(upload, page.t("upload.drop"), page.t("upload.choose"))

    icon_button(page.t("load_settings"), "open", ask)


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping of a YAML or JSON text. Raises ConfigError for anything else."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError("this is no list of `key: value` lines.")
    return {str(key): item for key, item in value.items()}


def fill(page: Page, form: Form, settings: Mapping[str, Any]) -> None:
    """Put settings (of a file, of a run) into the form and the model bar. Raises ConfigError where they are wrong."""
    config, problems = check(settings)
    if config is None:
        raise ConfigError("\n".join(problems.values()))
    kept = {key: value for key, value in config.to_dict().items() if key not in LEFT_OUT}
    docs = read_docs()
    shared = {key for key in kept if key in MODEL_KEYS or docs[key].group in MODEL_GROUPS}
    page.model.replace({key: kept[key] for key in kept if key in shared})
    form.replace({key: kept[key] for key in kept if key not in shared})
