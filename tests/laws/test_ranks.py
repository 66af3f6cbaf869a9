"""Several processes as users start them: each device's by itself, torchrun, accelerate launch; and one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from luthier.runs import Run
from luthier.trainer.checkpoint import fault
from tests.laws.commands import environment, make_data, numbers, run, train_command

KEYS = {"lora_dropout": 0.0, "packing": False, "save_strategy": "no", "eval_strategy": "no", "val_size": 0, "max_steps": 4}


def same_curve(one: Path, other: Path, within: float = 1e-5) -> None:
    alone, together = numbers(one), numbers(other)
    assert [row["step"] for row in alone] == [row["step"] for row in together] != []
    for expected, found in zip(alone, together, strict=True):
        for key in (
            "loss",
            "eval_loss",
            "reward",
            "eval_reward",
            "rewards/margins",
            "grad_norm",
            "learning_rate",
            "tokens_seen",
        ):
            if key in expected:
                assert found[key] == pytest.approx(expected[key], abs=within, rel=within), (expected["step"], key)


def wait_for(condition, timeout_s: float = 120.0):
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return value


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["itself", "variable", "accelerate"])
def test_every_way_to_start_trains_as_one_process(launcher, assets, tmp_path):
    """A space in a path survives each of them. (torchrun: test_world_size.py.)"""
    model, folder = assets / "models" / "stories260K", tmp_path / "my data"
    folder.mkdir()
    data = make_data(folder)
    one = run(train_command(model, data, tmp_path / "one", **KEYS, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    command, extra = train_command(model, data, tmp_path / "of two", **KEYS, gradient_accumulation_steps=1), {}
    if launcher == "itself":
        command += ["--nproc_per_node", "2"]
    elif launcher == "variable":
        extra = {"NPROC_PER_NODE": "2", "FORCE_TORCHRUN": "1"}
    else:
        script = Path(sys.executable).parent / "accelerate"
        command = [str(script), "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", *command[1:]]
    two = run(command, **extra)
    assert two.returncode == 0, two.stderr
    same_curve(tmp_path / "one", tmp_path / "of two")
    assert two.stderr.count("Finished at step 4 of 4") == 1  # one process speaks for both


FSDP_2 = "fsdp_version: 2", "fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward: true"
FSDP_1 = (
    "fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP", "fsdp_backward_prefetch: BACKWARD_PRE", "fsdp_forward_prefetch: false",
    "fsdp_cpu_ram_efficient_loading: true", "fsdp_offload_params: true", "fsdp_sharding_strategy: FULL_SHARD",
    "fsdp_state_dict_type: FULL_STATE_DICT", "fsdp_sync_module_states: true", "fsdp_use_orig_params: true",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "more"), [(FSDP_2, {}), (FSDP_1, {"quantization_bit": 4})], ids=["lora", "qlora"])
def test_what_accelerate_launch_is_configured_for_is_done(settings, more, assets, tmp_path):
    """accelerate launch --config_file, as FSDP, and QLoRA with it, is started by LLaMA-Factory's users."""
    if more:
        pytest.importorskip("bitsandbytes")
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    one = run(train_command(model, data, tmp_path / "one", **KEYS, **more, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    file = tmp_path / "fsdp.yaml"
    file.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_machines: 1\nnum_processes: 2\nmain_process_port: 0\n"
        + "\n  ".join(["fsdp_config:", *settings])
    )
    command = train_command(model, data, tmp_path / "two", **KEYS, **more, gradient_accumulation_steps=1)
    two = run([str(Path(sys.executable).parent / "accelerate"), "launch", "--config_file", str(file), *command[1:]])
    assert two.returncode == 0, two.stderr
    assert "each of 2 devices holds one part" in two.stderr
    same_curve(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_machines_meet(assets, tmp_path):
    """Two commands, as on two machines of one device each."""
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    one = run(train_command(model, data, tmp_path / "one", **KEYS, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    port = 20000 + os.getpid() % 10000
    command = train_command(model, data, tmp_path / "two", **KEYS, gradient_accumulation_steps=1, nnodes=2)
    command += ["master_addr=127.0.0.1", f"master_port={port}"]
    second = subprocess.Popen([*command, "node_rank=1"], env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        first = run([*command, "node_rank=0"])
        assert first.returncode == 0, first.stderr
        assert second.wait(60) == 0, second.stderr.read()
    finally:
        second.kill()
        second.communicate()
    same_curve(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "second"])
def test_one_process_is_killed(victim, assets, tmp_path):
    """The command ends in time and says why, nothing is left running, and the checkpoint before is gone on from."""
    model, data, folder = assets / "models" / "stories260K", make_data(tmp_path), tmp_path / "run"
    keys = KEYS | {"save_strategy": "steps", "save_steps": 2, "nproc_per_node": 2}
    whole = run(train_command(model, data, tmp_path / "whole", **keys | {"max_steps": 30}))
    assert whole.returncode == 0, whole.stderr
    command = train_command(model, data, folder, **keys | {"max_steps": 30})
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: process.poll() is not None or (folder / "checkpoints" / "step-4").is_dir())
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    assert len(family) == 2
    family[victim == "second"].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    status = Run.open(folder).status()
    if victim == "second":
        assert process.returncode == 2 and "process 1 of 2 of this training was killed by SIGKILL" in said
        assert status["state"] == "failed" and "SIGKILL" in status["reason"] and "Traceback" not in said
    else:
        assert status["state"] == "died"
    newest = Run.open(folder).checkpoints()[0]
    assert fault(newest) is None
    again = run(command)
    assert again.returncode == 0, again.stderr
    assert "resumed from" in again.stderr and numbers(folder) == numbers(tmp_path / "whole")


@pytest.mark.slow
def test_an_error_of_another_process_is_heard(assets, tmp_path):
    """The second process meets what the first does not: its words are passed on."""
    model, data, folder = assets / "models" / "stories260K", make_data(tmp_path), tmp_path / "run"
    startup = tmp_path / "site"
    startup.mkdir()
    lines = ["import os", "if os.environ.get('RANK') == '1':"]
    lines += ["    print('the second GPU fell off the bus', flush=True)", "    os._exit(3)"]
    (startup / "sitecustomize.py").write_text("\n".join(lines))
    paths = os.pathsep.join([str(startup), os.environ.get("PYTHONPATH", "")])
    began = time.monotonic()
    done = run(train_command(model, data, folder, **KEYS, nproc_per_node=2), PYTHONPATH=paths)
    assert time.monotonic() - began < 90 and done.returncode != 0
    assert "process 1 of 2 of this training ended with exit code 3" in done.stderr
    assert "the second GPU fell off the bus" in done.stderr


@pytest.mark.slow
def test_ray_starts_workers_that_train_as_one_process(assets, tmp_path):
    pytest.importorskip("ray")
    model, data = assets / "models" / "stories260K", make_data(tmp_path)
    one = run(train_command(model, data, tmp_path / "one", **KEYS, gradient_accumulation_steps=2))
    assert one.returncode == 0, one.stderr
    options = '{"num_cpus": 2, "include_dashboard": false}'
    command = train_command(model, data, tmp_path / "two", **KEYS, ray_num_workers=2, ray_init_kwargs=options)
    two = run([*command, "gradient_accumulation_steps=1", "--ray"])
    assert two.returncode == 0, two.stderr
    assert "Ray starts 2 workers" in two.stderr
    same_curve(tmp_path / "one", tmp_path / "two")
