"""Property tests: a Config written and read again is the same; junk gives a Config or a ConfigError, never anything else."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from luthier.config import Config, load_config
from luthier.config.docs import read_docs
from luthier.config.later import is_built
from luthier.config.values import Quoted, kind_of
from luthier.errors import ConfigError

NASTY = [
    "none",
    "null",
    "~",
    "true",
    "no",
    "1e5",
    "007",
    "0x10",
    "1_000",
    " padded ",
    "a: b",
    "# c",
    "'",
    '"',
    "- x",
    "{a}",
    "[b]",
    "中 文",
    "a\nb",
    "\t",
    ".",
]
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20) | st.sampled_from(NASTY)
PLAIN = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
MAPPING = st.dictionaries(TEXT, PLAIN, max_size=3)


def value_of(key: str) -> st.SearchStrategy[Any]:
    """A value that the key's type allows."""
    kind = kind_of(Config, key)
    if kind.is_secret:
        return st.just(SecretStr("secret"))
    if kind.is_list:
        items = st.floats(0, 1) if kind.item is float else TEXT.map(str.strip).filter(lambda text: text not in ("", "none"))
        return st.lists(items, min_size=1, max_size=3)
    parts = []
    parts += [st.sampled_from(kind.choices)] if kind.choices else []
    parts += [st.booleans()] if bool in kind.accepts else []
    parts += [st.integers(2, 10**6)] if int in kind.accepts else []
    parts += [st.floats(0.001, 0.5)] if float in kind.accepts else []
    parts += [MAPPING] if dict in kind.accepts else []
    parts += [TEXT.map(Quoted)] if str in kind.accepts else []
    parts += [st.none()] if kind.optional else []
    return st.one_of(parts)


BUILT = [key for key, doc in read_docs().items() if doc.is_built]
FREE = [key for key in BUILT if kind_of(Config, key).accepts & {str, dict} or kind_of(Config, key).is_list]


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A Config of sound single values whose features are built."""
    keys = draw(
        st.lists(st.sampled_from(BUILT) | st.sampled_from(FREE) | st.just("lr_scheduler_kwargs"), unique=True, max_size=12)
    )
    chosen = {}
    for key in keys:
        value = draw(value_of(key))
        with contextlib.suppress(ValueError):
            if is_built(key, getattr(Config(**{key: value}), key)):
                chosen[key] = value
    return Config(**chosen)


@given(configs())
@settings(max_examples=100, deadline=None)
def test_written_and_read_again(config: Config):
    for name, text in (("run.yaml", config.to_yaml()), ("run.json", json.dumps(config.to_dict()))):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, name)
            file.write_text(text or "{}", encoding="utf-8")
            try:
                again = load_config(file)
            except ConfigError as error:  # keys that do not go together; nothing about a single value
                assert not any(
                    word in str(error) for word in ("is not a", "is not one of", "unknown key", "not valid", "set twice")
                )
                continue
        assert again.to_dict() == config.to_dict()


def test_every_default_can_be_written_and_read_again(tmp_path: Path):
    file = tmp_path / "all.yaml"
    file.write_text(Config().to_yaml(explicit_only=False), encoding="utf-8")
    assert load_config(file).to_dict(explicit_only=False) == Config().to_dict(explicit_only=False)


KEYS = st.sampled_from(sorted(Config.model_fields))
WORDS = st.one_of(
    TEXT,
    KEYS.map("--{}".format),
    st.tuples(KEYS, TEXT | PLAIN.map(str)).map("=".join),
    st.tuples(KEYS, TEXT | PLAIN.map(str)).map("--{0[0]}={0[1]}".format),
    st.sampled_from(
        [
            "--",
            "-",
            "=",
            "--=",
            "a.b=c",
            "--no_",
            "--no_bf16",
            "lr_scheduler_kwargs.a.b=1",
            ".yaml",
            "x.json",
            "\0.yaml",
            "",
            "--a-b",
        ]
    ),
    st.sampled_from(["True", "false", "1e400", "-1", "nan", "9" * 5000, "[", "{", '{"a":', "[[[[", "²", "١"]),
)


@given(st.lists(WORDS, max_size=8))
@settings(max_examples=400, deadline=None)
def test_junk_on_the_command_line(words: list[str]):
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(words), Config)


@given(st.dictionaries(KEYS | TEXT, PLAIN | st.lists(PLAIN, max_size=2) | MAPPING, max_size=5))
@settings(max_examples=200, deadline=None)
def test_junk_in_a_dict(values: dict):
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(values), Config)


@given(
    st.one_of(st.text(max_size=80), st.lists(TEXT, max_size=6).map(": ".join), st.binary(max_size=60)),
    st.sampled_from([".yaml", ".json"]),
)
@settings(max_examples=200, deadline=None)
def test_junk_in_a_file(content: str | bytes, suffix: str):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"run{suffix}")
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(ConfigError):
            assert isinstance(load_config(file), Config)
