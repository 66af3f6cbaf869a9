"""The model behind chat, predict and the API: loaded with its adapters, as it was trained."""

import pytest

from luthier.config import load_config
from luthier.workflows.answering import load_answerer, load_words, settle


@pytest.mark.parametrize("bits", [None, 4])
def test_an_adapter_is_merged_for_speed_only_where_nothing_is_rounded(adapters, bits):
    pytest.importorskip("bitsandbytes")
    keys = {"adapter_name_or_path": str(adapters[0]), "quantization_bit": bits, "infer_dtype": "float32"}
    config = settle(load_config(keys))
    answerer = load_answerer(config, *load_words(config), keep_adapter=False)
    assert (answerer.adapter is None) is (bits is None)
