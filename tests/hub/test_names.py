"""Names to folders: what exists, what is misspelt, and what a hub says; no test touches the network."""

import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from luthier.config import Config
from luthier.errors import ModelError
from luthier.hub import catalog, resolve_adapter, resolve_model


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").touch()
    return path


@pytest.fixture
def snapshot(monkeypatch):
    """Stands for the hub's client: records what it was asked, returns or raises what the test puts into `answer`."""
    asked = {}

    def snapshot_download(repo_id, **options):
        asked.update(repo_id=repo_id, **options)
        if isinstance(asked["answer"], Exception):
            raise asked["answer"]
        return str(asked["answer"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def http_error(kind: type, text: str = "no") -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    return error


def test_a_folder_is_itself(tmp_path):
    folder = model_folder(tmp_path / "model")
    assert resolve_model(str(folder)) == folder


def test_the_checkpoint_names_of_llamafactory_lead_to_ours(tmp_path):
    ours = model_folder(tmp_path / "run" / "checkpoints" / "step-500")
    assert resolve_model(str(tmp_path / "run" / "checkpoint-500")) == ours


def test_a_checkpoint_folder_of_that_name_wins(tmp_path):
    model_folder(tmp_path / "run" / "checkpoints" / "step-500")
    theirs = model_folder(tmp_path / "run" / "checkpoint-500")
    assert resolve_model(str(theirs)) == theirs


def test_starter_is_in_the_box_or_says_how_to_make_it():
    try:
        folder = resolve_model("starter")
    except ModelError as error:
        assert "make starter" in str(error)
    else:
        assert (folder / "config.json").is_file()


@pytest.mark.parametrize("name", ["./nothing", "/nothing/at/all", "~/nothing-here", "a/b/c"])
def test_a_path_that_is_not_there_is_no_hub_name(name, snapshot):
    snapshot["answer"] = AssertionError("the hub must not be asked")
    with pytest.raises(ModelError, match="does not exist"):
        resolve_model(name)


def test_a_misspelt_path_names_its_neighbour(tmp_path):
    model_folder(tmp_path / "saves" / "sft")
    with pytest.raises(ModelError, match="saves/sft"):
        resolve_model(str(tmp_path / "saves" / "sfft"))
    with pytest.raises(ModelError, match="saves"):
        resolve_model(str(tmp_path / "savs" / "sft"))


def test_owner_and_name_is_a_path_where_the_owner_is_a_folder(tmp_path, monkeypatch, snapshot):
    snapshot["answer"] = AssertionError("the hub must not be asked")
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "saves" / "first")
    with pytest.raises(ModelError, match="saves/first"):
        resolve_model("saves/frist")


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(str(tmp_path / "model.safetensors"))


def test_a_hub_id_is_fetched_without_code_or_pickles(tmp_path, snapshot):
    snapshot["answer"] = model_folder(tmp_path / "m")
    assert resolve_model("Qwen/Qwen3-0.6B", Config(model_revision="v1", cache_dir="/c")) == tmp_path / "m"
    assert (snapshot["repo_id"], snapshot["revision"], snapshot["cache_dir"]) == ("Qwen/Qwen3-0.6B", "v1", "/c")
    fetched = set(snapshot["allow_patterns"])
    assert "*.safetensors" in fetched
    assert not fetched & {"*.py", "*.bin", "*.pt", "*.pth", "*"}


def test_code_is_fetched_only_where_it_is_trusted(tmp_path, snapshot):
    snapshot["answer"] = model_folder(tmp_path / "m")
    resolve_model("a/b", Config(trust_remote_code=True))
    assert "*.py" in snapshot["allow_patterns"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GatedRepoError, "gated"),
        (RepositoryNotFoundError, "neither a folder here nor a model"),
        (RevisionNotFoundError, "no revision"),
        (LocalEntryNotFoundError, "cannot be reached"),
        (ConnectionError, "cannot be reached"),
    ],
)
def test_what_the_hub_says_becomes_one_sentence_without_the_token(kind, said, snapshot):
    snapshot["answer"] = http_error(kind, "https://user:hf_secret@huggingface.co")
    with pytest.raises(ModelError, match=said) as caught:
        resolve_model("Qwen/Qwen3", Config(hf_hub_token="hf_secret"))
    assert snapshot["token"] == "hf_secret"
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(("variable", "hub"), [("1", "auto"), ("", "modelscope")])
def test_modelscope_is_asked_where_the_environment_or_the_key_says_so(monkeypatch, snapshot, variable, hub):
    monkeypatch.setenv("USE_MODELSCOPE_HUB", variable)
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)  # as if it were not installed
    snapshot["answer"] = AssertionError("Hugging Face must not be asked")
    with pytest.raises(ModelError, match="pip install modelscope-hub"):
        resolve_model("Qwen/Qwen3-0.6B", Config(hub=hub))


def test_the_key_wins_over_the_environment(monkeypatch, snapshot, tmp_path):
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    snapshot["answer"] = model_folder(tmp_path / "m")
    assert resolve_model("Qwen/Qwen3-0.6B", Config(hub="huggingface", hf_hub_token="t")) == tmp_path / "m"
    assert snapshot["token"] == "t"


def test_an_adapter_needs_its_config(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"adapter_config\.json is missing"):
        resolve_adapter(str(folder))
    (folder / "adapter_config.json").write_text("{}")
    assert resolve_adapter(str(folder)) == folder
    assert resolve_adapter(str(tmp_path), Config(adapter_folder="adapter")) == folder


def test_a_whole_model_given_as_adapter_is_told_apart(tmp_path):
    with pytest.raises(ModelError, match="model_name_or_path"):
        resolve_adapter(str(model_folder(tmp_path / "model")))


def test_a_name_of_the_catalog_is_what_the_chosen_hub_calls_it(tmp_path, monkeypatch, snapshot):
    snapshot["answer"] = model_folder(tmp_path / "model")
    resolve_model("qwen3-0.6b")
    assert snapshot["repo_id"] == "Qwen/Qwen3-0.6B"
    resolve_model("somebody/Qwen3-0.6B-tuned")
    assert snapshot["repo_id"] == "somebody/Qwen3-0.6B-tuned"
    asked = []
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    monkeypatch.setattr("luthier.hub.modelscope.download", lambda wanted: asked.append(wanted.name) or snapshot["answer"])
    resolve_model("meta-llama/Llama-3.1-8B-Instruct")
    assert asked == ["LLM-Research/Meta-Llama-3.1-8B-Instruct"]


def test_the_catalog_has_no_name_twice():
    for names in zip(*((entry.name.lower(), entry.huggingface, entry.modelscope) for entry in catalog()), strict=True):
        assert len(set(names)) == len(names) > 100
