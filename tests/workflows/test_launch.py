"""The command lines of vLLM and SGLang say what the config says."""

import json

import pytest

from luthier.cli import main
from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.workflows.answering import settle
from luthier.workflows.launch import sglang_command, vllm_command, write_template


def after(words, flag):
    return words[words.index(flag) + 1]


def test_vllm_gets_model_adapters_template_limits_and_further_options(adapters, tmp_path):
    one, two = adapters
    config = settle(
        load_config(
            {"adapter_name_or_path": str(one), "api_adapters": [f"second={two}"], "vllm_maxlen": 200, "vllm_gpu_util": 0.5,
             "vllm_enforce_eager": True, "infer_dtype": "bfloat16", "api_port": 9000, "api_key": "k", "max_concurrent": 7,
             "vllm_config": {"swap_space": 2, "enable_prefix_caching": True, "override": {"a": 1}}}
        )
    )  # fmt: skip
    template = write_template(config, tmp_path)
    words = vllm_command(config, template)
    assert after(words, "--model").endswith("tiny")
    assert after(words, "--served-model-name") == "tiny"
    assert words[words.index("--lora-modules") + 1 :][:2] == [f"tuned1={one}", f"second={two}"]
    for flag, value in (
        ("--max-model-len", "200"), ("--gpu-memory-utilization", "0.5"), ("--dtype", "bfloat16"), ("--port", "9000"),
        ("--max-num-seqs", "7"), ("--swap-space", "2"), ("--override", json.dumps({"a": 1})),
    ):  # fmt: skip
        assert after(words, flag) == value
    assert "--api-key" not in words  # vLLM takes it from its environment
    assert "--enforce-eager" in words
    assert "--enable-prefix-caching" in words
    assert "<|im_start|>" in (tmp_path / "chat_template.jinja").read_text()
    assert after(words, "--chat-template") == str(tmp_path / "chat_template.jinja")


def test_sglang_likewise_and_the_tokenizers_own_template_is_left_alone(tiny_folder, tmp_path):
    config = settle(load_config({"model_name_or_path": str(tiny_folder), "sglang_tp_size": 2, "sglang_maxlen": 99}))
    assert write_template(config, tmp_path) is None
    words = sglang_command(config, None)
    assert after(words, "--model-path") == str(tiny_folder)
    assert after(words, "--tp-size") == "2"
    assert after(words, "--context-length") == "99"
    assert "--chat-template" not in words


def test_no_server_is_asked_for_more_than_the_model_was_made_for(tiny_folder):
    most = json.loads((tiny_folder / "config.json").read_text())["max_position_embeddings"]
    keys = {"model_name_or_path": str(tiny_folder), "vllm_maxlen": most + 1, "sglang_maxlen": most + 1}
    config = settle(load_config(keys))
    assert after(vllm_command(config, None), "--max-model-len") == str(most)
    assert after(sglang_command(config, None), "--context-length") == str(most)
    longer = settle(load_config(keys | {"rope_scaling": "yarn"}))
    assert after(vllm_command(longer, None), "--max-model-len") == str(most + 1)


def test_sglang_chooses_its_kernels_unless_the_user_does(adapters):
    """Its choice follows the machine: a fixed one is refused where the kernels are missing."""
    keys = {"adapter_name_or_path": str(adapters[0])}
    words = sglang_command(settle(load_config(keys)), None)
    assert after(words, "--lora-paths") == f"tuned1={adapters[0]}"
    assert not [word for word in words if word.endswith("-backend")]
    chosen = keys | {"sglang_lora_backend": "csgmv", "sglang_config": {"attention_backend": "triton"}}
    words = sglang_command(settle(load_config(chosen)), None)
    assert (after(words, "--lora-backend"), after(words, "--attention-backend")) == ("csgmv", "triton")


def test_adapters_on_top_of_each_other_cannot_be_served_there(adapters):
    config = settle(load_config({"adapter_name_or_path": [str(folder) for folder in adapters]}))
    with pytest.raises(ConfigError, match="on top of each other"):
        vllm_command(config, None)


def test_the_rank_of_an_adapter_is_room_enough(adapters):
    file = adapters[0] / "adapter_config.json"
    saved = file.read_text()
    file.write_text(json.dumps(json.loads(saved) | {"r": 40}))
    try:
        config = settle(load_config({"adapter_name_or_path": str(adapters[0]), "infer_backend": "vllm"}))
        assert after(vllm_command(config, None), "--max-lora-rank") == "64"
    finally:
        file.write_text(saved)


RECORDER = """
import json, os, pathlib, sys
template = pathlib.Path(sys.argv[sys.argv.index("--chat-template") + 1]).read_text()
told = {"words": sys.argv[1:], "key": os.environ.get("VLLM_API_KEY"), "template": template}
pathlib.Path(os.environ["TOLD"]).write_text(json.dumps(told))
sys.exit(7)
"""


MODULES = {"vllm": "vllm/entrypoints/openai/api_server.py", "sglang": "sglang/launch_server.py"}


@pytest.mark.parametrize("engine", MODULES)
def test_the_server_is_started_as_a_process(engine, adapters, tmp_path, monkeypatch, capfd):
    """A program in the server's place writes down what it was given; its exit code is ours."""
    file = tmp_path / "packages" / MODULES[engine]
    file.parent.mkdir(parents=True)
    file.write_text(RECORDER)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.json"))
    monkeypatch.setenv("API_KEY", "from-outside")
    one, two = adapters
    words = ["--engine", engine, "--adapter_name_or_path", str(one), "--api_adapters", f"second={two}", "--port", "9000"]
    assert main(["serve", *words, "--max_concurrent", "5", "--sglang_tp_size", "1", "--template", "qwen"]) == 7
    told = json.loads((tmp_path / "told.json").read_text())
    assert after(told["words"], "--port") == "9000"
    assert f"tuned1={one}" in told["words"] and f"second={two}" in told["words"]
    assert after(told["words"], {"vllm": "--max-num-seqs", "sglang": "--max-running-requests"}[engine]) == "5"
    assert "<|im_start|>" in told["template"]
    given = told["key"] if engine == "vllm" else after(told["words"], "--api-key")
    assert given == "from-outside"
    assert "from-outside" not in capfd.readouterr().err
