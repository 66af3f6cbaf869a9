"""The command that the page shows gives, pasted in a shell, the very configuration of the form."""

from __future__ import annotations

import shlex
import subprocess
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.config import load_config
from luthier.config.docs import Doc, read_docs
from luthier.webui.commands import command_line, yaml_of
from luthier.webui.form import Form, check
from luthier.webui.layout import can_show, choices_of, folds, sections

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
PLACES = st.sampled_from(
    ["a b", "数据/身份", "x'y", '$(touch z) "q"', "--odd", "none", "5e-5", "true", "a,b", "~", "#c", "{a}", "-1"]
)


def values_of(doc: Doc) -> st.SearchStrategy:
    """Values that a form of this key can hold."""
    if choices_of(doc) and doc.type != "list":
        return st.sampled_from(list(choices_of(doc)))
    limits = dict(doc.limits)
    least = limits.get("ge", limits.get("gt", 0))
    most = limits.get("le", limits.get("lt", least + 1000))
    if doc.type == "bool":
        return st.booleans()
    if doc.type == "int":
        return st.integers(int(least) + ("gt" in limits), max(int(least) + 1, int(most) - ("lt" in limits)))
    if doc.type == "float":
        edge = 1e-3 * (most - least)
        return st.floats(least + edge, most - edge, allow_nan=False)
    if doc.type == "list":
        item = st.floats(0.1, 1) if "probs" in doc.key or "weights" in doc.key else TEXT | PLACES
        return st.lists(item, min_size=1, max_size=3)
    if doc.type == "mapping":
        return st.dictionaries(
            st.sampled_from(["num_cycles", "power", "a b"]), st.integers(0, 9) | TEXT, min_size=1, max_size=2
        )
    return TEXT | PLACES


KEYS = sorted(
    {key for page in ("train", "export") for part in (sections(page), folds(page)) for keys in part.values() for key in keys}
)
FORMS = st.fixed_dictionaries(
    {"model_name_or_path": TEXT | PLACES | st.just("starter")},
    optional={key: values_of(read_docs()[key]) for key in KEYS if can_show(key)},
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(FORMS, st.sets(st.sampled_from(KEYS), max_size=8))
def test_command_and_yaml_give_the_same_configuration(form, kept):
    values = Form({})
    values.update({key: value for key, value in form.items() if key in kept or key == "model_name_or_path"})
    given_settings = values.settings()
    config, _ = check(given_settings)
    if config is None:  # such a form shows its complaints instead
        return
    command = command_line("train", given_settings)
    if command.startswith("cat > "):
        body = command.split("\n", 1)[1].rpartition("LUTHIER_END\nluthier train run.yaml")[0]
        assert body == yaml_of(given_settings)
    else:
        words = shlex.split(command.replace("\\\n", " "))
        assert words[:2] == ["luthier", "train"]
        assert load_config(words[2:]) == config


def test_a_shell_runs_the_command_with_the_files_beside_it(tmp_path):
    """Odd names, through a real shell: both forms of the command."""
    probe = "import sys; from luthier.config import load_config; print(load_config(sys.argv[2:]).to_dict())"
    (tmp_path / "luthier").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{probe}' \"$@\"\n")
    (tmp_path / "luthier").chmod(0o755)
    for name in ("数据 'x' $HOME", "none", "a,b"):
        given_settings = {"model_name_or_path": "starter", "dataset": [name], "run_name": name}
        command = command_line("train", given_settings)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == str(check(given_settings)[0].to_dict()), done.stderr
