"""The command lines of vLLM and SGLang say what the config says."""

import json

import pytest

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
            {"adapter_name_or_path": str(one), "api_adapters": [f"second={two}"], "vllm_maxlen": 1000, "vllm_gpu_util": 0.5,
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
        ("--max-model-len", "1000"), ("--gpu-memory-utilization", "0.5"), ("--dtype", "bfloat16"), ("--port", "9000"),
        ("--api-key", "k"), ("--max-num-seqs", "7"), ("--swap-space", "2"), ("--override", json.dumps({"a": 1})),
    ):  # fmt: skip
        assert after(words, flag) == value
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


def test_adapters_on_top_of_each_other_cannot_be_served_there(adapters):
    config = settle(load_config({"adapter_name_or_path": [str(folder) for folder in adapters]}))
    with pytest.raises(ConfigError, match="on top of each other"):
        vllm_command(config, None)
