"""Run by a Python that has llama-cpp-python: greedy answers, logits of the prompts, and how texts are cut, by llama.cpp.

stdin: {"model", "prompts", "texts", "new_tokens", "lora", "logits" (whether they are wanted)}.
stdout: {"answers", "logits" (of the last token), "words"}.
"""

import json
import sys

from llama_cpp import Llama

GGML_TYPE_F32 = 0

wish = json.load(sys.stdin)
llm = Llama(
    wish["model"], n_ctx=256, logits_all=True, verbose=False, n_threads=1, lora_path=wish["lora"],
    type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32,
)  # fmt: skip
answers, logits = [], []
for prompt in wish["prompts"]:
    llm.reset()
    llm.eval(prompt)
    if wish["logits"]:
        logits.append([float(value) for value in llm.scores[len(prompt) - 1]])
    ids = []
    for _ in range(wish["new_tokens"]):
        ids.append(int(llm.scores[llm.n_tokens - 1].argmax()))
        llm.eval(ids[-1:])
    answers.append(ids)
words = [llm.tokenize(text.encode(), add_bos=False, special=True) for text in wish["texts"]]
json.dump({"answers": answers, "logits": logits, "words": words}, sys.stdout)
