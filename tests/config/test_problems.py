"""Bad input: each gives one ConfigError with the place, the value and the remedy; all of them come together."""

from pathlib import Path

import pytest

from luthier.config import Config, load_config
from luthier.config.problems import SHOWN
from luthier.errors import ConfigError


def complaint(source, overrides=()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    return str(caught.value)


def test_three_typos_three_suggestions_one_message(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("stage: sft\nlora_rnak: 8\nlearnig_rate: 1e-4\n\n# a comment\ncutof_len: 512\n")
    assert complaint(file) == (
        "3 problems in the configuration:\n"
        '  run.yaml line 2: unknown key "lora_rnak". Did you mean "lora_rank"?\n'
        '  run.yaml line 3: unknown key "learnig_rate". Did you mean "learning_rate"?\n'
        '  run.yaml line 6: unknown key "cutof_len". Did you mean "cutoff_len"?'
    )


def test_one_problem_is_one_line(tmp_path: Path):
    file = tmp_path / "run.json"
    file.write_text('{\n  "seed": 1,\n  "lora_rnak": 8\n}')
    assert complaint(file) == 'run.json line 3: unknown key "lora_rnak". Did you mean "lora_rank"?'


def test_all_kinds_of_problems_come_together(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("lora_rnak: 8\nlearning_rate: -1\nfp8: true\nmask_history: true\ntrain_on_prompt: true\n")
    lines = complaint([str(file), "--seed", "x", "stray"]).splitlines()
    assert lines[0] == "6 problems in the configuration:"
    assert {line.strip() for line in lines[1:]} == {
        'command line: "stray" is no flag, no key=value and no .yaml/.json file. Quote values that hold spaces.',
        'run.yaml line 1: unknown key "lora_rnak". Did you mean "lora_rank"?',
        'run.yaml line 2: learning_rate: "-1" is out of range: it must be greater than 0.',
        'command line: seed: "x" is not a whole number.',
        'run.yaml line 3: fp8: "true" is not built yet: FP8 training. Take the key out.',
        "run.yaml line 4: mask_history learns less than every answer, train_on_prompt more: keep one.",
    }


def test_many_problems_fit_a_screen():
    text = complaint({f"unknown_{number}" * 40: "x" * 10_000 for number in range(200)})
    assert len(text.splitlines()) == SHOWN + 2
    assert max(map(len, text.splitlines())) < 250
    assert "and 185 more" in text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("run.yaml", "- a\n- b\n", "a list, where lines of `key: value` are expected"),
        ("run.yaml", "just words", 'a single value ("just words"), where'),
        ("run.yaml", "", "empty, where"),
        ("run.yaml", "a: [1, 2\nb: 3\n", "run.yaml line 2 column 2: not valid YAML"),
        ("run.yaml", "stage: sft\n\tseed: 1\n", "run.yaml line 2"),
        ("run.yaml", "seed: 1\nstage: sft\nseed: 2\n", 'run.yaml line 3: "seed" is set twice (first in line 1)'),
        ("run.yaml", "? [a, b]\n: 1\n", "run.yaml line 1: a key must be a single word"),
        ("run.yaml", "seed: 1\n---\nseed: 2\n", "not valid YAML"),
        ("run.yaml", "lr_scheduler_kwargs: &x {a: *x}\n", "alias that holds itself"),
        ("run.yaml", "seed: !!python/object:os.system 1\n", "seed"),
        ("run.json", '{"seed": 1,}', "run.json line 1 column"),
        ("run.json", "[1]", "holds a list, where an object"),
        ("run.json", '{"seed": 1, "seed": 2}', '"seed" is set twice'),
        ("run.json", "", "not valid JSON"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str, expected: str):
    file = tmp_path / name
    file.write_text(content)
    if "python/object" in content:  # a tag is never obeyed: the scalar is text
        assert load_config(file).seed == 1
        return
    assert expected in complaint(file)


def test_yaml_that_unfolds_without_end(tmp_path: Path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(lines))
    assert "nested too deeply" in complaint(file)


def test_files_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "train.yaml").write_text("seed: 1")
    assert "trian.yaml: no such configuration file.\n  In that folder: train.yaml" in complaint([str(tmp_path / "trian.yaml")])
    assert "does not exist either" in complaint(tmp_path / "nowhere" / "a.yaml")
    (tmp_path / "gbk.yaml").write_bytes("run_name: 小提琴".encode("gbk"))
    assert "not UTF-8" in complaint(tmp_path / "gbk.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot be read" in complaint(tmp_path / "folder.yaml")
    (tmp_path / "bom.yaml").write_bytes("run_name: 小提琴".encode("utf-8-sig"))
    assert load_config(tmp_path / "bom.yaml").run_name == "小提琴"


def test_flags_without_a_value():
    assert complaint(["--learning_rate", "--seed", "1"]) == "command line: --learning_rate needs a value."
    assert complaint(["--seed"]) == "command line: --seed needs a value."


def test_old_and_new_name_of_a_key():
    assert '"evaluation_strategy" is the old name of "eval_strategy", and both are set' in complaint(
        {"evaluation_strategy": "no", "eval_strategy": "no"}
    )


def test_secrets_are_neither_dumped_nor_shown():
    secret = "hf_verysecret"
    config = load_config({"hf_hub_token": secret, "seed": 1})
    assert config.secret("hf_hub_token") == secret
    assert config.secret("ms_hub_token") is None
    for text in (
        config.to_yaml(),
        config.to_yaml(explicit_only=False),
        str(config.to_dict()),
        repr(config),
        config.model_dump_json(),
    ):
        assert secret not in text
    assert secret not in complaint({"hf_hub_tokne": secret})
    assert secret not in complaint({"hf_hub_token": [secret]})
    assert secret not in complaint({"swanlab_api_key": [secret]})
    assert secret not in complaint(["--hf_hub_tokne", secret, "--seed", "x"])
    with pytest.raises(ValueError) as caught:
        Config(learning_rate=secret)
    assert secret not in str(caught.value)
