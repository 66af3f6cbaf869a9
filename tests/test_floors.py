"""The house stands: no import runs upward or sideways, every module imports, and light paths stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "luthier"

GROUND = {"errors", "types", "calls", "packing", "registry", "config", "runtime", "hub", "runs"}
LEAVES = {
    "datasets", "templates", "batches", "models", "adapters", "stages", "trainer", "engines", "evals", "exporters",
    "documents", "planner",
}  # fmt: skip
SPINE = {"workflows"}
FACES = {"cli", "webui", "serving"}
FLOORS = {**dict.fromkeys(GROUND, 0), **dict.fromkeys(LEAVES, 1), **dict.fromkeys(SPINE, 2), **dict.fromkeys(FACES, 3)}


def modules() -> list[str]:
    names = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def imports_at_run_time(tree: ast.Module) -> set[str]:
    """Names of luthier modules that are imported when the code runs; `if TYPE_CHECKING:` blocks are no arrows."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return {name for name in found if name.split(".")[0] == "luthier" and "." in name}


def test_no_import_runs_upward_or_sideways():
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if here not in FLOORS:
            assert here in ("__init__", "__main__", "starter"), f"{path} stands on no floor"
            continue
        for name in imports_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
            there = name.split(".")[1]
            if there == here:
                continue
            if FLOORS.get(there, 9) > FLOORS[here] or (FLOORS[there] == FLOORS[here] == 1):
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in modules() if not name.endswith("__main__")])
def test_every_module_imports(name):
    __import__(name)


@pytest.mark.parametrize("code", ["import luthier.config", "import luthier.cli", "import luthier.runs", "import luthier.types"])
def test_light_paths_never_import_torch(code):
    heavy = "{'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules)"
    script = f"import sys; {code}; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_no_machine_path_stands_in_the_source():
    root = SOURCE.parent.parent
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, timeout=60)
    for name in tracked.stdout.splitlines():
        path = root / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".sh"} and path.is_file() and path != Path(__file__):
            assert f"{'/'}work/" not in path.read_text(encoding="utf-8"), name
