"""The door: help, exit codes, messages."""

import subprocess
import sys

import pytest

from luthier import cli
from luthier.cli.arguments import take_flags
from luthier.errors import ConfigError, DataError


def test_help_lists_verbs_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from luthier.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'typer', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "quickstart" in done.stdout


@pytest.mark.parametrize("verb", ["train", "runs", "config", "env", "version"])
def test_every_verb_has_help_with_an_example_and_starts_without_torch(verb: str) -> None:
    code = f"import sys; from luthier.cli import main; main(['{verb}', '--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"luthier {verb}" in done.stdout


def test_every_listed_verb_can_be_imported() -> None:
    for verb in cli.VERBS:
        assert cli.find_command(verb)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["trian"], 'Did you mean "train"?'), (["xyz"], "luthier --help lists them"), (["rnus", "list"], "runs")],
)
def test_unknown_command(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


def command_that(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def command(argv: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "find_command", lambda name: command)


def test_luthier_errors_have_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, DataError("row 3 is broken", "mend it"))
    assert cli.main(["data"]) == 2
    assert capsys.readouterr().err == "DataError: row 3 is broken\n  mend it\n"


def test_our_bugs_show_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    command_that(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["data"])


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, KeyboardInterrupt())
    assert cli.main(["data"]) == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(luthier) -> None:
    code = f"{sys.executable} -m luthier --help | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {code}"], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_version(luthier) -> None:
    assert luthier("version").stdout.startswith("luthier 0.")
    assert luthier("--version").stdout == luthier("version").stdout


def test_env_tells_versions_and_devices(luthier) -> None:
    import json

    facts = json.loads(luthier("env", "--json").stdout)
    assert facts["versions"]["torch"] and "free of" in facts["device"]["memory"]


def test_take_flags() -> None:
    words = ["a.yaml", "--json", "lr=1", "--detach", "False", "--x", "true"]
    assert take_flags(words, "--json", "--detach") == (["a.yaml", "lr=1", "--x", "true"], {"--json"})
    assert take_flags(["json=true", "--detach=yes"], "--json", "--detach") == ([], {"--json", "--detach"})
    assert take_flags(["--json", "a.yaml"], "--json") == (["a.yaml"], {"--json"})
    with pytest.raises(ConfigError, match="takes true or false"):
        take_flags(["--json=perhaps"], "--json")
