"""What the tests of quantised exports share: their config, their folders unpacked, and the next token after held-out rows."""

import json

import torch

from luthier.config import Config
from luthier.exporters import EXPORTERS
from luthier.exporters.quantized import read_tensors


def config_of(folder, target, texts, **keys):
    words = {"export_quantization_dataset": str(texts), "export_quantization_maxlen": 64, "export_quantization_nsamples": 20}
    return Config(**{"model_name_or_path": str(folder), "export_dir": str(target), "template": "chatml"} | words | keys)


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def unpacked_model(folder):
    """(model in float32 with the weights that a quantised folder holds, its exporter)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = settings_of(folder)
    name = settings["quant_method"]
    if name == "compressed-tensors":
        name = {"float-quantized": "fp8", "int-quantized": "int8"}[settings["format"]]
    exporter = EXPORTERS[name](Config(export_quantization_bit=settings["bits"] if name == "gptq" else None))
    config = AutoConfig.from_pretrained(folder)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    state = {key: tensor.float() for key, tensor in exporter.unpacked(read_tensors(folder)).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model.eval(), exporter


def starter_kl(out, plain):
    """Nats of KL of the next token, the exported starter from the trained one, mean over tokens that calibrated nothing."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from luthier.templates import find_template
    from luthier.workflows.calibrate import calibration_rows

    keys = config_of(plain, plain, "general", **STARTER | {"export_quantization_nsamples": 100})
    rows = calibration_rows(keys, find_template(keys, AutoTokenizer.from_pretrained(plain)), None)[66:]
    model, exporter = unpacked_model(out)
    exporter.as_served(model)
    trained = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()
    with torch.no_grad():
        ids = torch.tensor(rows)
        p, q = (each(ids).logits.log_softmax(-1) for each in (trained, model))
        return float((p.exp() * (p - q)).sum(-1).mean())


STARTER = {
    "template": None, "dataset_dir": "data", "export_quantization_maxlen": 128, "export_quantization_nsamples": 60,
}  # fmt: skip
"""For exports of the starter: the data to calibrate with is "general"."""
