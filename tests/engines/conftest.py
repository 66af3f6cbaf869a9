"""Models whose answers differ from row to row, and the plain way to get an answer: one prompt alone through transformers."""

import random

import pytest

STOP = 2


class Characters:
    """A tokenizer of one letter an id, for models of 97 tokens that have none."""

    def decode(self, ids, **options):
        return "".join(chr(0x4E00 + id) for id in ids)


@pytest.fixture
def characters():
    return Characters()


@pytest.fixture(scope="session")
def story_folder(assets):
    return assets / "models" / "stories260K"


@pytest.fixture(scope="session")
def stories(story_folder):
    """(model, tokenizer) of a real model that nobody here made."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(story_folder), AutoTokenizer.from_pretrained(story_folder)


def lively(model, factor=8):
    """Random weights of the usual size say one token for ever; larger ones make every answer its own. Ends in eval mode."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    return model.eval()


def random_prompts(count, vocabulary=97, longest=40, seed=1):
    chance = random.Random(seed)
    return [[chance.randrange(3, vocabulary) for _ in range(chance.randint(1, longest))] for _ in range(count)]


def alone(model, prompt, max_new_tokens, stop=STOP, **options):
    """transformers' own answer to one prompt: (ids before the stop token, finish reason)."""
    import torch
    from transformers import GenerationConfig

    config = GenerationConfig(
        max_new_tokens=max_new_tokens, eos_token_id=stop, pad_token_id=0, **({"do_sample": False} | options)
    )
    ids = torch.tensor([prompt])
    with torch.no_grad():
        answer = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    answer = answer[0, len(prompt) :].tolist()
    if stop in answer:
        return tuple(answer[: answer.index(stop)]), "stop"
    return tuple(answer), "length"
