"""dvc.yaml against the code: stage names, exact deps, and what a light stage must not import."""

import ast
import sys
from pathlib import Path

import pytest
import yaml
from closure import ROOT, import_closure, imported_names, module_file

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
LAYERS = ("data", "models", "evaluate", "train", "report", "predict", "experiments")  # imports go only to the left
LIBRARY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "hw1").rglob("*.py"))
# One home for each library; all others take what they need from there.
HOMES = {
    "yaml": {"hw1/params.py", "hw1/experiments/pipeline.py"},
    "mlflow": {"hw1/train/sender.py"},
    "sklearn": {"hw1/evaluate/embeddings.py"},
    "safetensors": {"hw1/models/weights.py"},
    "gdown": {"hw1/data/drive.py"},
    "jinja2": {"hw1/report/page.py"},
}


def body(stage: dict) -> dict:
    return stage.get("do", stage)


def external_closure(module: str) -> set[str]:
    """Top-level names of foreign packages that importing a module pulls in, project modules followed."""
    top_level = set()
    for path in import_closure(module):
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.Import):
                top_level |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                top_level.add(node.module.split(".")[0])
    return top_level - set(sys.stdlib_module_names)


def test_stages_stand_in_the_order_of_the_data():
    order = "download prepare initialise pretrain classify finetune segment evaluate compare plots report"
    assert list(STAGES) == order.split()


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_exactly_the_import_closure(name):
    code = {dep for dep in body(STAGES[name])["deps"] if dep.startswith(("hw1/", "stages/")) and dep.endswith(".py")}
    assert code == import_closure(f"stages.{name}")


def test_templates_beside_the_page_are_deps_of_the_report():
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hw1").rglob("*.j2")}
    assert templates
    assert templates <= set(body(STAGES["report"])["deps"])


@pytest.mark.parametrize("name", STAGES)
def test_command_runs_the_stage_of_that_name(name):
    assert body(STAGES[name])["cmd"].startswith(f"python -m stages.{name} ")


@pytest.mark.parametrize("name", STAGES)
def test_every_path_in_the_command_is_a_dep_or_an_out(name):
    stage = body(STAGES[name])
    declared = list(stage["deps"])
    for kind in ("outs", "metrics", "plots"):
        declared += [next(iter(out)) if isinstance(out, dict) else out for out in stage.get(kind, [])]
    paths = [word for word in stage["cmd"].split() if "/" in word]
    for path in paths:
        assert any(entry == path or entry.startswith(f"{path}/") for entry in declared), path


@pytest.mark.parametrize("name", ["download", "prepare", "compare", "plots", "report"])
def test_light_stage_does_not_import_torch(name):
    assert not external_closure(f"stages.{name}") & {"torch", "torchvision", "sklearn", "mlflow", "dvc"}


@pytest.mark.parametrize("path", LIBRARY)
def test_module_imports_only_from_its_own_layer_or_below(path):
    parts = Path(path).parts
    height = LAYERS.index(parts[1]) if parts[1] in LAYERS else -1
    for name in imported_names(ROOT / path):
        if module_file(name) is not None:
            layer = name.split(".")[1]
            assert (LAYERS.index(layer) if layer in LAYERS else -1) <= height, f"{path} imports {name}"


@pytest.mark.parametrize("library", HOMES)
def test_library_is_imported_in_one_place(library):
    users = {path for path in LIBRARY if any(n.split(".")[0] == library for n in imported_names(ROOT / path))}
    assert users == HOMES[library]
