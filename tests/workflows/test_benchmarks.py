"""luthier eval --task: each benchmark end to end on a tiny model, against figures computed another way."""

import json

import pytest
import torch

from luthier.cli import main
from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.evals.calls import read_tasks
from luthier.evals.worked import conversation, read_problems
from luthier.workflows.benchmark import benchmark


@pytest.fixture
def keys(tiny_folder, tmp_path):
    return {
        "model_name_or_path": str(tiny_folder),
        "template": "qwen",
        "task_dir": str(tmp_path / "evaluation"),
        "save_dir": str(tmp_path / "saved"),
        "max_new_tokens": 12,
    }


def test_gsm8k_counts_final_numbers(keys, tiny_folder, tmp_path, capsys):
    """The model's own greedy answers, whose last number is made the right one for one problem of two."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from luthier.config import Config
    from luthier.evals.numbers import final_number
    from luthier.templates import find_template

    folder = tmp_path / "evaluation" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [
        {"question": f"How many {word} are {number} {word}?", "answer": f"#### {number}"} for number, word in enumerate("abcd")
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:2])))
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows[2:])))
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_folder), AutoModelForCausalLM.from_pretrained(tiny_folder)
    template = find_template(Config(template="qwen"), tokenizer)
    solved, said = read_problems(folder, "train"), []
    for problem in read_problems(folder, "test"):
        ids = torch.tensor([template.encode_prompt(conversation(problem, solved, "en"))])
        out = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=list(template.stop_token_ids))
        said.append(template.parse(tokenizer.decode(out[0, ids.shape[1] :])).content)
    assert (
        main(["eval", *(f"{key}={value}" for key, value in keys.items()), "task=gsm8k_test", "n_shot=2", "--json", "-q"]) == 0
    )
    saved = json.loads((tmp_path / "saved" / "results.json").read_text())
    assert [row["predict"] for row in saved] == said
    right = [final_number(text) == number for number, text in zip((2, 3), said)]
    assert [row["right"] for row in saved] == right
    assert json.loads(capsys.readouterr().out)["average"] == 50 * sum(right)


def test_function_calls_by_category(keys, assets, tmp_path, monkeypatch):
    """Answers written by hand in the model's place: one right, one wrong, none."""
    from luthier.types import Message, ToolCall
    from luthier.workflows.benchmarks import calls as module

    folder = assets / "data" / "bfcl-toolcall-en"
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "bfcl").symlink_to(folder.resolve())
    tasks = read_tasks(folder)["simple_python"][:3]
    right = ToolCall(name="calculate_triangle_area", arguments={"base": 10, "height": 5})
    answers = [(right,), (ToolCall(name="math.factorial", arguments={"number": 6}),), ()]

    def answer(answerer, conversations):
        assert [each.tools for each in conversations] == [task.conversation.tools for task in tasks]
        assert all(answerer.template.encode_prompt(each) for each in conversations)
        return [Message(role="assistant", tool_calls=each) for each in answers]

    monkeypatch.setattr(module, "answers_to", answer)
    config = load_config(keys | {"task": "bfcl_simple_python", "max_samples": 3})
    assert benchmark(config) == {
        "average": pytest.approx(100 / 3, abs=1e-3),
        "categories": {"simple_python": pytest.approx(33.3333)},
    }
    rows = json.loads((tmp_path / "saved" / "results.json").read_text())["simple_python"]
    assert [row["wrong"] for row in rows] == [None, "math.factorial: number is 6", "0 calls instead of 1"]
    assert (tmp_path / "saved" / "results.log").read_text() == "        Average: 33.33\n  simple_python: 33.33"
    with pytest.raises(ConfigError, match="There are: bfcl_multiple, bfcl_parallel, bfcl_simple_python"):
        benchmark(load_config(keys | {"task": "bfcl_java", "save_dir": None}))


def test_prompts_that_fill_the_context_are_told_and_wrong(keys, assets, tmp_path, caplog):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "bfcl").symlink_to((assets / "data" / "bfcl-toolcall-en").resolve())
    figures = benchmark(load_config(keys | {"task": "bfcl", "max_samples": 2}))
    assert set(figures["categories"]) == {"simple_python", "multiple", "parallel"}
    rows = json.loads((tmp_path / "saved" / "results.json").read_text())
    assert all(row["wrong"] for each in rows.values() for row in each)  # a random model calls nothing right
    assert "2 of 6 prompts fill the model's context of 512 tokens" in caplog.text


def test_refusals(keys, monkeypatch):
    with pytest.raises(ConfigError, match='task: "gsm9k" is unknown'):
        benchmark(load_config(keys | {"task": "gsm9k"}))
    with pytest.raises(ConfigError, match="a server does not tell"):
        from luthier.workflows.answering import Answerer, scorer_of

        scorer_of(Answerer(config=None, tokenizer=None, template=None, net=None, adapter=None, engine=None, describes=""))
    monkeypatch.setattr("luthier.workflows.benchmarks.harness.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'luthier\[lm-eval\]'"):
        benchmark(load_config(keys | {"task": "lm_eval:arc_easy"}))


TASKS = {
    "own_choices": {"output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}"},
    "own_rolling": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"},
    "own_words": {"output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{text}}"},
}


@pytest.fixture
def own_tasks(tmp_path):
    """One task of each kind that the harness has, with local rows."""
    import yaml

    folder = tmp_path / "evaluation"
    folder.mkdir()
    rows = [
        {
            "question": f"Question {number}: which of these is {number}? ",
            "choices": [f"one {number}", "two", f"number {number} of them"], "gold": number % 3,
            "text": f"A text of some length about {number}. " * (20 * number + 1),
        }
        for number in range(6)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, more in TASKS.items():
        task = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
        task |= {"test_split": "test", "doc_to_target": "{{gold}}"} | more
        if name == "own_words":
            task |= {"generation_kwargs": {"until": ["zz", "\n"], "max_gen_toks": 12, "do_sample": False}}
            task |= {"metric_list": [{"metric": "bleu"}]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))
    return folder


@pytest.mark.slow
def test_the_harness_gets_the_figures_of_its_own_model(keys, own_tasks, tiny_folder, monkeypatch):
    """lm-eval's own transformers model, one row at a time, on tasks of all three kinds."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from luthier.workflows.answering import load_answerer, load_words, scorer_of
    from luthier.workflows.benchmarks.harness import make_lm

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    theirs = HFLM(pretrained=str(tiny_folder), device="cpu", batch_size=1, dtype="float32")
    config = load_config(keys)
    answerer = load_answerer(config, *load_words(config))
    ours = make_lm(answerer, scorer_of(answerer))
    found = [
        lm_eval.simple_evaluate(
            model=model, tasks=list(TASKS), task_manager=TaskManager(include_path=str(own_tasks)), bootstrap_iters=0
        )
        for model in (theirs, ours)
    ]
    answers = [
        {task: [row["resps"] for row in sorted(each["samples"][task], key=lambda row: row["doc_id"])] for task in TASKS}
        for each in found
    ]
    assert answers[0]["own_words"] == answers[1]["own_words"] and any(map(str, answers[0]["own_words"]))
    for task in ("own_choices", "own_rolling"):
        for a, b in zip(_numbers(answers[0][task]), _numbers(answers[1][task]), strict=True):
            assert a == pytest.approx(b, rel=1e-4, abs=1e-3)
    results = [{task: dict(each["results"][task]) for task in TASKS} for each in found]
    for task, row in results[0].items():
        for metric, value in row.items():
            assert results[1][task][metric] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
    figures = benchmark(config.model_copy(update={"task": "lm_eval:own_choices", "save_dir": None}))
    assert figures["categories"]["own_choices acc"] == results[0]["own_choices"]["acc,none"]
    with pytest.raises(ConfigError, match="the harness has no task own_choice"):
        benchmark(config.model_copy(update={"task": "lm_eval:own_choice"}))


def _numbers(answers):
    """All numbers in nested lists and tuples."""
    if isinstance(answers, list | tuple):
        return [number for each in answers for number in _numbers(each)]
    return [float(answers)]
