"""New tokens: in the tokenizer, in the embeddings, learned with a LoRA, remembered by it, merged with it."""

import json

import pytest
import torch

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ConfigError
from luthier.models.load import load_model
from luthier.models.tokenizer import load_tokenizer
from luthier.workflows.answering import recorded
from luthier.workflows.keep import saver

WORDS = {"add_tokens": ["<thing one>", "zwölf"], "add_special_tokens": ["<|begin_of_idea|>"]}


def loaded(**keys):
    config = Config(model_name_or_path="starter", lora_rank=4, **keys)
    tokenizer = load_tokenizer(config)
    model = load_model(config, dtype=torch.float32, for_training=True)
    return config, tokenizer, model


def new_ids(tokenizer):
    return tokenizer.convert_tokens_to_ids([*WORDS["add_tokens"], *WORDS["add_special_tokens"]])


def test_each_is_one_token_and_a_special_one_is_special():
    _, tokenizer, _ = loaded(**WORDS)
    plain = load_tokenizer(Config(model_name_or_path="starter"))
    text = "a <thing one> and <|begin_of_idea|>"
    assert set(new_ids(tokenizer)[:1]) < set(tokenizer(text).input_ids) and len(tokenizer) == len(plain) + 3
    assert "<|begin_of_idea|>" not in tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)


def test_embeddings_have_rows_for_them_and_the_others_stay(tmp_path):
    _, tokenizer, model = loaded(**WORDS)
    _, _, before = loaded()
    weight, old = model.get_input_embeddings().weight, before.get_input_embeddings().weight
    assert weight.shape[0] >= len(tokenizer) and torch.equal(weight[: min(new_ids(tokenizer))], old[: min(new_ids(tokenizer))])
    assert torch.isfinite(weight[new_ids(tokenizer)]).all()
    assert len({tuple(row.tolist()) for row in weight[new_ids(tokenizer)]}) == 3


def test_a_description_is_where_a_token_starts(tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text('"<|city|>": "capital city"\n')
    keys = {"new_special_tokens_config": str(file), "init_special_tokens": "desc_init"}
    _, tokenizer, model = loaded(**keys)
    weight = model.get_input_embeddings().weight
    parts = tokenizer("capital city", add_special_tokens=False).input_ids
    torch.testing.assert_close(weight[tokenizer.convert_tokens_to_ids("<|city|>")], weight[parts].mean(0))
    file.write_text("- a list")
    with pytest.raises(ConfigError, match="no mapping of tokens to descriptions"):
        loaded(**keys)


def logits(net, ids):
    net.eval()
    with torch.no_grad():
        return net(input_ids=ids, use_cache=False).logits


def test_a_lora_learns_them_remembers_them_and_merges(tmp_path):
    config, tokenizer, model = loaded(**WORDS)
    adapter = ADAPTERS["lora"](config)
    net = adapter.attach(model).train()
    ids = torch.tensor([[5, *new_ids(tokenizer), 7]])
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(4):
        loss = net(input_ids=ids, labels=ids, use_cache=False).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    expected = logits(net, ids)

    class Template:
        def jinja(self):
            return "{{ messages }}"

        def describe(self):
            return {"template": "auto"}

    saver(config, adapter, net, tokenizer, Template())(tmp_path)
    assert json.loads((tmp_path / "luthier.json").read_text())["model_keys"] == WORDS
    asked = Config(model_name_or_path="starter", adapter_name_or_path=[str(tmp_path)])
    settled = asked.model_copy(update=recorded(asked))
    again = ADAPTERS["lora"](settled).attach(load_model(settled, dtype=torch.float32), trainable=False)
    torch.testing.assert_close(logits(again, ids), expected, rtol=0, atol=1e-5)
    assert load_tokenizer(settled).convert_tokens_to_ids("zwölf") == tokenizer.convert_tokens_to_ids("zwölf")
    merged = ADAPTERS["lora"](settled).merge(again)
    torch.testing.assert_close(logits(merged, ids), expected, rtol=0, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(whole, ids), expected, rtol=0, atol=1e-4)
