"""Benchmark folders as LLaMA-Factory has them: read from files and archives, put in its words, answered by a letter."""

import json
import zipfile

import pytest

from luthier.config import load_config
from luthier.errors import ConfigError, DataError
from luthier.evals.choices import Question, conversation, read_questions
from luthier.workflows.benchmark import benchmark

MAPPING = {
    "abstract_algebra": {"name": "abstract algebra", "category": "STEM"},
    "anatomy": {"name": "anatomy", "category": "Other"},
}
ROWS = 'What is 1 + 1?,1,2,3,4,B\n"Two, or three?",x,y,z,w,D\n'


@pytest.fixture
def folder(tmp_path):
    """MMLU without headers in a zip; one subject beside it with C-Eval's headers."""
    mmlu = tmp_path / "evaluation" / "mmlu"
    (mmlu / "val").mkdir(parents=True)
    (mmlu / "mapping.json").write_text(json.dumps(MAPPING))
    with zipfile.ZipFile(mmlu / "mmlu.zip", "w") as archive:
        for subject in MAPPING:
            archive.writestr(f"data/test/{subject}_test.csv", ROWS)
            archive.writestr(f"data/dev/{subject}_dev.csv", "Which?,a,b,c,d,A\nWho?,e,f,g,h,C\n")
    (mmlu / "val" / "anatomy_val.csv").write_text("id,question,A,B,C,D,answer,explanation\n0,Q?,1,2,3,4,c,because\n")
    return mmlu


def test_questions_are_found_in_files_and_archives(folder):
    questions = read_questions(folder, "abstract_algebra", "test")
    assert questions[1] == Question(question="Two, or three?", choices={"A": "x", "B": "y", "C": "z", "D": "w"}, answer="D")
    assert read_questions(folder, "anatomy", "validation")[0].answer == "C"
    with pytest.raises(DataError, match="has no validation questions of abstract_algebra"):
        read_questions(folder, "abstract_algebra", "validation")


def test_the_words_are_llamafactorys(folder):
    question, solved = read_questions(folder, "anatomy", "test")[0], read_questions(folder, "anatomy", "train")[:1]
    messages = conversation(question, solved, "anatomy", "en").messages
    assert [(message.role, message.content) for message in messages] == [
        (
            "user",
            "The following are multiple choice questions (with answers) about anatomy.\n\n"
            "Which?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
        ),
        ("assistant", "A"),
        ("user", "What is 1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"),
    ]
    chinese = conversation(question, [], "解剖学", "zh").messages[0].content
    assert (
        chinese
        == "以下是中国关于解剖学考试的单项选择题，请选出其中的正确答案。\n\nWhat is 1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\n答案："
    )


def test_a_broken_row_is_named(folder):
    (folder / "val" / "anatomy_val.csv").write_text("Q?,1,2,3,4,E\n")
    with pytest.raises(DataError, match=r'anatomy_val.csv row 1 has the answer "E"'):
        read_questions(folder, "anatomy", "validation")


def test_answers_are_transformers_likeliest_letter(folder, assets, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from luthier.config import Config
    from luthier.templates import find_template
    from tests.conftest import make_tiny
    from tests.engines.conftest import lively

    tokenizer = AutoTokenizer.from_pretrained(assets / "tokenizers" / "minimind")
    lively(make_tiny("qwen3", vocab_size=len(tokenizer), max_position_embeddings=1024)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    keys = {"model_name_or_path": str(tmp_path / "model"), "template": "chatml", "n_shot": 2}
    keys |= {"task": "mmlu_test", "task_dir": str(folder.parent), "save_dir": str(tmp_path / "saved")}
    results = benchmark(load_config(keys))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    template = find_template(Config(template="chatml"), tokenizer)
    saved = json.loads((tmp_path / "saved" / "results.json").read_text())
    right = 0
    for subject, row in MAPPING.items():
        solved = read_questions(folder, subject, "train")
        for number, question in enumerate(read_questions(folder, subject, "test")):
            ids = template.encode_prompt(conversation(question, solved, row["name"], "en"))
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, -1]
            letter = max("ABCD", key=lambda each: float(logits[tokenizer.encode(each, add_special_tokens=False)[-1]]))
            assert saved[subject][str(number)] == letter
            right += letter == question.answer
    assert results["average"] == 100 * right / 4 and set(results["categories"]) == {"STEM", "Other"}
    assert (tmp_path / "saved" / "results.log").read_text().splitlines()[0] == f"        Average: {results['average']:.2f}"
    with pytest.raises(ConfigError, match="exists already"):
        benchmark(load_config(keys))
    with pytest.raises(ConfigError, match='task: "mmlu" names no split'):
        benchmark(load_config(keys | {"task": "mmlu", "save_dir": None}))
