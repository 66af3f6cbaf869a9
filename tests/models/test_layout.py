"""A model whose weights were laid out for answers is the same model."""

import torch

from luthier.models.layout import lay_out_for_answers
from tests.conftest import make_tiny


def test_numbers_stay_and_only_strides_change():
    model = make_tiny("qwen3", tie_word_embeddings=True).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.tensor([[5, 6, 7]])
    expected = model(ids).logits
    lay_out_for_answers(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.model.layers[0].mlp.up_proj.weight.stride() == (1, 48)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.testing.assert_close(model(ids).logits, expected, atol=1e-5, rtol=1e-5)


def test_other_dtypes_are_left_alone():
    model = make_tiny("llama").to(torch.bfloat16)
    lay_out_for_answers(model)
    assert all(parameter.is_contiguous() for parameter in model.parameters())
