"""The FLOPs of the limit against torch's own counter of the products that a step really does."""

import pytest
import torch
from bench.limit import lora_flops
from bench.models import Shape
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPE = Shape(tokenizer="", vocab_size=300, hidden_size=64, intermediate_size=96, layers=3, heads=4, kv_heads=2, head_dim=16)


def test_flops_equal_torchs_count():
    """Plain attention does the whole square where only the causal half must be done, so its part counts twice here."""
    config = Qwen3Config(
        vocab_size=SHAPE.vocab_size,
        hidden_size=SHAPE.hidden_size,
        intermediate_size=SHAPE.intermediate_size,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        head_dim=SHAPE.head_dim,
        attn_implementation="eager",
    )
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(Qwen3ForCausalLM(config), lora).train()
    tokens = 40
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(tokens)[None], use_cache=False).logits.sum().backward()
    flops = lora_flops(SHAPE, [tokens], supervised=tokens, rank=4)
    expected = flops.linear + flops.lora + 2 * flops.attention + flops.head
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-9)


def test_attention_grows_with_segments_not_with_the_pack():
    one, two = lora_flops(SHAPE, [80], 10, 4), lora_flops(SHAPE, [40, 40], 10, 4)
    assert one.linear == two.linear and one.head == two.head and one.attention == 2 * two.attention
