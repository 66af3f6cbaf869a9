"""The web process stays light: no torch, and a worker beside it that answers, fails in words, and ends with it."""

import asyncio
import subprocess
import sys

import pytest

from luthier.errors import LuthierError
from luthier.webui.advice import advise
from luthier.webui.form import Form, check
from luthier.webui.models import inspect, look
from luthier.webui.workers import Worker


def test_the_whole_web_process_never_imports_torch(tmp_path):
    code = (
        "import sys, os; os.environ['NICEGUI_STORAGE_PATH'] = sys.argv[1]\n"
        "from luthier.webui.app import make_app; from luthier.webui.settings import Settings\n"
        "make_app(Settings())\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'accelerate', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    env = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60, env=env)


def test_a_worker_answers_and_says_errors_in_words(monkeypatch, tmp_path):
    (tmp_path / "echo_worker.py").write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    if request['do'] == 'die': sys.exit(7)\n"
        "    fails = request['do'] == 'fail'\n"
        "    answers = [{'error': 'no', 'remedy': 'do'}] if fails else [{'piece': 1}, {'result': request}]\n"
        "    for answer in answers: print(json.dumps({'id': request['id'], **answer}), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def go():
        worker = Worker("echo_worker")
        found = [answer async for answer in worker.stream("echo", text="你好")]
        assert found[0]["piece"] == 1 and found[1]["text"] == "你好"
        with pytest.raises(LuthierError, match="no"):
            await worker.call("fail")
        with pytest.raises(LuthierError, match="ended"):
            await worker.call("die")
        assert not worker.is_alive
        assert [answer async for answer in worker.stream("echo")]  # started anew
        pid = worker.pid
        await worker.end()
        assert pid and not worker.is_alive

    asyncio.run(go())


def test_a_form_holds_only_what_was_set():
    form = Form({"learning_rate": 1e-4}, Form({"model_name_or_path": "starter"}))
    heard = []
    form.on_change(heard.append)
    form.update({"lora_rank": 8, "dataset": ["identity"], "learning_rate": ""})
    form.set("lora_rank", 8)  # nothing new
    form.base.set("template", "qwen")
    assert form.settings() == {"model_name_or_path": "starter", "template": "qwen", "lora_rank": 8, "dataset": ["identity"]}
    assert heard == [{"lora_rank", "dataset", "learning_rate"}, {"template"}]
    form.replace({"stage": "pt"})
    assert form.values == {"stage": "pt"}
    assert set(check({"lora_rank": 0, "learning_rate": "x"})[1]) == {"lora_rank", "learning_rate"}


def test_a_model_folder_is_looked_into_without_loading_it(tmp_path):
    found = look("starter")
    assert found.state == "complete" and found.architecture == "Qwen3" and found.template and 2e6 < found.parameters < 5e6
    assert look("Qwen/Qwen3-0.6B-that-is-nowhere").state == "remote"
    assert look("./nowhere").state == "missing"
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert (inspect(tmp_path).state, inspect(tmp_path).problem) == ("incomplete", "model.safetensors")


def test_advice_goes_when_it_is_taken():
    settings = {"model_name_or_path": "starter", "learning_rate": 5e-5, "num_train_epochs": 3.0}
    data = {"data": {"samples": 90, "over": 0.0, "p99": 40}}
    found = advise(settings, data)
    assert (found["learning_rate"].take, found["num_train_epochs"].take) == (5e-3, 20.0)
    taken = {**settings, **{key: one.take for key, one in found.items()}}
    assert not {"learning_rate", "num_train_epochs"} & advise(taken, data).keys()
