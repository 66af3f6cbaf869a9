"""Plans from configs alone: other models, optimizers, low stacks for tall ones, remedies that fit, the page of sizes."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.cli.plan import command
from luthier.config import Config, load_config
from luthier.config.keys.optimizer import OptimizerKeys
from luthier.config.later import is_built
from luthier.planner.cards import find_card
from luthier.trainer.optimizers import BITSANDBYTES, make_optimizer
from luthier.workflows.fit import remedies
from luthier.workflows.footprints import _measured, footprint_of, learning_bytes
from luthier.workflows.plan import one_part, plan_training
from luthier.workflows.sizes import METHODS, WORDS, needed, write_page

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
STARTER = {"model_name_or_path": "starter", "cutoff_len": 64, "use_cpu": True}
CARD = find_card("RTX 4060")


def shape_of(family="qwen3", **more):
    from transformers import AutoConfig

    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    return AutoConfig.for_model(family, **(sizes | {"head_dim": 8, "num_hidden_layers": 2} | more))


def costs(**keys):
    return footprint_of(Config(**({"finetuning_type": "full", "optim": "adamw_torch"} | keys)), shape_of(), torch.float32)


def test_optimizers_keep_what_they_keep():
    """Two moments of Adam are twice the weights (and a counter a parameter); what others keep is told by taking a step."""
    adam, weights = costs().optimizer_bytes, costs().weight_bytes
    assert adam == pytest.approx(2 * weights, rel=0.01)
    assert costs(optim="sgd").optimizer_bytes == 0
    assert costs(optim="adamw_8bit").optimizer_bytes == 2 * weights  # all parameters are too small for 8 bits
    assert costs(optim="adamw_8bit").step_bytes == 5 * 4 * 97 * 32 and costs(optim="adamw_torch_8bit").step_bytes == 0
    assert costs(optim="adafactor").optimizer_bytes < 0.5 * weights
    assert costs(use_galore=True, galore_rank=2).optimizer_bytes < 0.7 * adam
    block = costs(use_badam=True)
    assert block.gradient_bytes < weights / 2 and block.optimizer_bytes < adam / 2


BY_NAME = [{"optim": name} for name in get_args(OptimizerKeys.model_fields["optim"].annotation) if is_built("optim", name)]
BY_KEY = [{"use_galore": True}, {"use_apollo": True}, {"use_badam": True}, {"use_muon": True}, {"use_adam_mini": True}]


@pytest.mark.parametrize(
    "keys", BY_NAME + BY_KEY, ids=lambda keys: next(iter(keys.values())) if "optim" in keys else next(iter(keys))
)
def test_the_state_of_every_optimizer_is_what_a_real_step_leaves(keys):
    """Every `optim` that a config accepts, on a model whose layers are large enough to be kept in 8 bits."""
    schedule = "constant" if str(keys.get("optim")).startswith("schedule_free") else "linear"
    given = {"model_name_or_path": "x", "finetuning_type": "full", "stage": "sft", "lr_scheduler_type": schedule}
    config = load_config(given | keys)
    if keys.get("optim") in BITSANDBYTES:
        pytest.importorskip("bitsandbytes")
    shape = shape_of(hidden_size=64, intermediate_size=128)
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(shape)
    told = learning_bytes(config, net)[1]
    real = AutoModelForCausalLM.from_config(shape)
    optimizer = make_optimizer(real, config)
    learning = [parameter for parameter in real.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    left = sum(tensor.nbytes for tensor in tensors_in(optimizer.state.values()) if tensor.numel() != 256)  # maps of 8 bits
    assert told == pytest.approx(left, rel=0.05, abs=2048)


def tensors_in(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict):
            yield from tensors_in(value.values())


@pytest.mark.parametrize("keys", [{}, {"finetuning_type": "lora"}, {"finetuning_type": "freeze"}, {"use_badam": True}])
def test_a_low_stack_tells_what_a_tall_one_costs(keys):
    config = Config(**({"finetuning_type": "full"} | keys))
    shape = shape_of(num_hidden_layers=12)
    told, counted = footprint_of(config, shape, torch.float32), _measured(config, shape, torch.float32, 0)
    for name in ("parameters", "trainable", "weight_bytes", "gradient_bytes", "optimizer_bytes", "linear", "learning"):
        assert getattr(told, name) == pytest.approx(getattr(counted, name), rel=1e-6), name
    assert told.kept == pytest.approx(counted.kept, rel=1e-3)


@pytest.mark.parametrize("keys", [{}, {"quantization_bit": 4, "finetuning_type": "lora"}])
def test_a_device_holds_its_part_and_what_is_gathered(keys):
    """Of 4 devices each holds a quarter; embeddings and head (97 x 32 floats each) and both layers are gathered whole, and no
    file is mapped any more."""
    whole = costs(**keys)
    part = one_part(whole, 4)
    ends = 2 * 97 * 32 * 4
    assert whole.ends_bytes == ends
    assert part.weight_bytes == whole.weight_bytes // 4 + whole.weight_bytes
    assert (part.gradient_bytes, part.optimizer_bytes) == (whole.gradient_bytes // 4, whole.optimizer_bytes // 4)
    assert part.mapped_bytes == 0 and part.unpacked_bytes == whole.unpacked_bytes


@pytest.mark.parametrize(("stored", "mapped"), [(torch.float32, True), (torch.bfloat16, False), (None, True)])
def test_files_stay_mapped_where_the_embeddings_are_used_as_they_are(stored, mapped):
    config = Config(finetuning_type="lora", quantization_bit=4)
    assert (footprint_of(config, shape_of(dtype=stored), torch.float32).mapped_bytes > 0) == mapped


def test_a_reference_is_cut_as_well():
    config = Config(**STARTER, stage="dpo", finetuning_type="full")
    whole, half, least = (plan_training(config, parts=parts).memory["reference"] for parts in (1, 2, 100))
    assert half - least == pytest.approx(whole / 2 - whole / 100, rel=1e-3)


def test_capped_attention_keeps_something_for_each_pair_of_tokens():
    config = Config(finetuning_type="lora")
    assert footprint_of(config, shape_of(), torch.float32, longest=64).kept_pairs == 0
    assert footprint_of(config, shape_of("gemma2"), torch.float32, longest=64).kept_pairs > 4 * 4 * 2  # heads, bytes, layers


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"stage": "dpo", "finetuning_type": "full"}, "reference"),
        ({"stage": "kd", "teacher_model": "starter"}, "teacher"),
        ({"stage": "ppo", "reward_model": "starter", "reward_model_type": "full"}, "reward"),
    ],
)
def test_other_models_are_counted(keys, part):
    plan = plan_training(Config(**STARTER, **keys))
    assert plan.memory[part] == pytest.approx(plan.memory["weights"], rel=0.15)


def test_the_base_under_an_adapter_is_its_own_reference():
    assert "reference" not in plan_training(Config(**STARTER, stage="dpo")).memory
    cached = Config(**STARTER, stage="dpo", finetuning_type="full", precompute_ref_log_probs=True)
    assert "reference" not in plan_training(cached).memory


@pytest.fixture
def large(tmp_path):
    """A model of 2 billion parameters, its config alone."""
    shape_of(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=16, vocab_size=32000
    ).save_pretrained(tmp_path)
    return tmp_path


def test_what_does_not_fit_gets_changes_that_do(large, tmp_path, capsys):
    words = [f"model_name_or_path={large}", "finetuning_type=full", "bf16=true", "cutoff_len=512"]
    config = load_config(words)
    plan = plan_training(config, card=CARD)
    assert plan.fits is False
    found = remedies(config, plan, CARD)
    assert len(found) == 3 and {"finetuning_type": "lora"} in [dict(each.changes) for each in found]
    for each in found:
        assert each.cost and plan_training(config.model_copy(update=dict(each.changes)), card=CARD).fits
    fitted = tmp_path / "fitted.yaml"
    assert command([*words, "--gpu", "RTX 4060", "--fit", "--output", str(fitted)]) == 0
    assert command([str(fitted), "--gpu", "RTX 4060"]) == 0
    assert command([*words, "--gpu", "RTX 4060"]) == 1
    assert "3. peak" in capsys.readouterr().out


@pytest.mark.parametrize(("method", "bytes_a_weight"), [("full, pure_bf16", 8), ("LoRA", 2), ("QLoRA 4", 0.52)])
def test_sizes_are_at_least_what_the_weights_take(method, bytes_a_weight):
    """Qwen2.5-7B: 7.6 billion parameters, of which 1.1 billion are embeddings and the head."""
    body, rest = 6.5e9, 1.1e9
    least = bytes_a_weight * body + max(2, bytes_a_weight) * rest
    assert least < needed("7B", method) < 1.2 * least + 2.5e9


@pytest.mark.slow
@pytest.mark.parametrize(("lang", "name"), [("en", "memory.md"), ("zh", "memory_zh.md")])
def test_the_page_of_sizes_is_up_to_date(lang, name):
    assert (REFERENCE / name).read_text(encoding="utf-8") == write_page(lang)


def test_both_languages_name_every_method():
    assert all(len(words["methods"]) == len(METHODS) for words in WORDS.values())
