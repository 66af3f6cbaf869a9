"""Run by a Python that has llama-cpp-python: greedy answers, logits of the prompts, and how texts are cut, by llama.cpp.

stdin: {"model", "prompts", "texts", "new_tokens", "stops" (ids after which an answer goes no further), "lora", "logits" (of how
many prompts they are wanted)}.
stdout: {"answers", "logits" (of the last token), "words"}.
"""

import json
import sys

import numpy as np
from llama_cpp import Llama, llama_get_logits_ith

GGML_TYPE_F32 = 0

wish = json.load(sys.stdin)
llm = Llama(
    wish["model"], n_ctx=256, verbose=False, n_threads=1, lora_path=wish["lora"], type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32
)


def read(ids):
    """The logits of what follows ids, (V,)."""
    llm.eval(ids)
    return np.ctypeslib.as_array(llama_get_logits_ith(llm.ctx, -1), shape=(llm.n_vocab(),)).copy()


answers, logits = [], []
for prompt in wish["prompts"]:
    llm.reset()
    scores = read(prompt)
    if len(logits) < wish["logits"]:
        logits.append(scores.tolist())
    ids = [int(scores.argmax())]
    while len(ids) < wish["new_tokens"] and ids[-1] not in wish["stops"]:
        ids.append(int(read(ids[-1:]).argmax()))
    answers.append(ids)
words = [llm.tokenize(text.encode(), add_bos=False, special=True) for text in wish["texts"]]
json.dump({"answers": answers, "logits": logits, "words": words}, sys.stdout)
