"""dvc.yaml against the code: stage names, packages, versions, and what a light stage must not import."""

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from closure import ROOT, import_closure, imported_names, module_file

from hw1.run.environment import PACKAGES

PACKAGE = "hw1/__init__.py"  # a docstring, on which nothing depends
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Imports go only to the left. run is around every result and in none, so no stage depends on it.
LAYERS = (
    *("run", "data", "archive", "sources", "images", "engine", "classify", "byol", "segment"),
    *("evaluate", "statistics", "report", "predict", "inspect", "repro", "experiments"),
)
LIBRARY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "hw1").rglob("*.py"))
# One home for each library; all others take what they need from there.
HOMES = {
    "ruamel": {"hw1/run/parameters/yaml_reader.py"},
    "dvc": {
        *("hw1/repro/graph.py", "hw1/repro/worker.py"),
        *("hw1/experiments/pipeline.py", "hw1/experiments/clones.py"),
    },
    "rich": {"hw1/repro/screen.py"},
    "mlflow": {"hw1/run/tracking/mlflow_store.py", "hw1/run/tracking/mlflow_models.py"},
    "sklearn": {"hw1/evaluate/embeddings.py"},
    "safetensors": {"hw1/engine/weights.py", "hw1/sources/imagenet.py"},
    "gdown": {"hw1/sources/network.py"},
    "jinja2": {"hw1/report/page.py"},
    "fcntl": {"hw1/run/files.py"},
}

DISTRIBUTIONS = packages_distributions()  # PIL -> pillow, sklearn -> scikit-learn
# What brings a result from one place to another to the byte, and has no part in it.
CARRIERS = {"gdown", "requests", "safetensors", "tqdm"}
BENEATH = {"scikit-learn": {"scipy"}}  # computes its PCA and t-SNE; what else lies below others computes nothing here
ENVIRONMENT = json.loads((ROOT / "environment.json").read_text())


def body(stage: dict) -> dict:
    return stage.get("do", stage)


def code_deps(stage: dict) -> list[str]:
    """The script and the packages that a stage of dvc.yaml depends on."""
    return [dep for dep in body(stage)["deps"] if dep.startswith(("hw1/", "stages/"))]


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


def packages_behind(module: str) -> set[str]:
    """The foreign packages that a result of a module comes from, imported at its top or later; not hw1/run's."""
    files = (path for path in import_closure(module) if not path.startswith("hw1/run/"))
    names = {name.partition(".")[0] for path in files for name in imported_names(ROOT / path)}
    packages = {package.lower() for name in names for package in DISTRIBUTIONS.get(name, ())} - CARRIERS
    return packages.union(*(BENEATH.get(package, set()) for package in packages))


def versions_of(stage: dict) -> list[str]:
    """What a stage of dvc.yaml depends on of environment.json."""
    (listed,) = (entry["environment.json"] for entry in body(stage)["params"] if isinstance(entry, dict))
    return listed


def test_stages_stand_in_the_order_of_the_data():
    order = (
        "download prepare imagenet start initialise pretrain classify finetune segment histories evaluate compare "
        "plots report"
    )
    assert list(STAGES) == order.split()


@pytest.mark.parametrize("name", STAGES)
def test_stage_imports_nothing_outside_its_script_its_packages_and_run(name):
    code = code_deps(STAGES[name])
    assert f"stages/{name}.py" in code and len(code) - 1 <= 6
    allowed = (*code, "hw1/run", "stages/__init__.py")
    outside = {path for path in import_closure(f"stages.{name}") if not path.startswith((*allowed, PACKAGE))}
    assert outside == set()


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_no_package_that_it_does_not_import(name):
    packages = {path.rpartition("/")[0] for path in import_closure(f"stages.{name}")}
    assert set(code_deps(STAGES[name])) - {f"stages/{name}.py"} <= packages


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_the_versions_of_python_and_of_what_it_imports(name):
    assert versions_of(STAGES[name]) == ["python", *sorted(packages_behind(f"stages.{name}"))]


def test_every_version_that_is_recorded_is_one_that_a_stage_depends_on():
    assert {"python", *PACKAGES} == {name for stage in STAGES.values() for name in versions_of(stage)}


def test_versions_recorded_are_those_that_setup_installs():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert {name: version for name, version in ENVIRONMENT.items() if name != "python"} == {
        name: pinned[name] for name in PACKAGES
    }


def test_lock_is_of_the_versions_recorded():
    """Python's aside, which is whatever the tests run on."""
    for name, entry in yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"].items():
        wanted = {package: ENVIRONMENT[package] for package in versions_of(STAGES[name.partition("@")[0]])}
        locked = entry["params"]["environment.json"]
        assert locked | {"python": ""} == wanted | {"python": ""}, name


def test_no_stage_depends_on_what_is_only_around_a_result():
    assert not any("hw1/run" in code_deps(stage) for stage in STAGES.values())


def test_what_is_around_a_result_imports_nothing_that_makes_one():
    for path in (path for path in LIBRARY if path.startswith("hw1/run/")):
        assert {name.split(".")[1] for name in imported_names(ROOT / path) if name.startswith("hw1.")} <= {"run"}, path


def test_the_package_itself_holds_no_code():
    (node,) = ast.parse((ROOT / PACKAGE).read_text()).body
    assert isinstance(node.value, ast.Constant)


def test_no_two_modules_and_no_two_classes_have_one_name():
    modules = [Path(path).stem for path in LIBRARY if not Path(path).stem.startswith("__")]
    classes = [
        node.name
        for path in LIBRARY
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    for names in (modules, classes):
        assert sorted(names) == sorted(set(names))


def test_lock_holds_the_stages_of_the_dag_and_no_others():
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    assert {name.partition("@")[0] for name in locked} == set(STAGES)
    for name, stage in STAGES.items():
        instances = [entry for entry in locked if entry.partition("@")[0] == name]
        assert instances == [name] if "foreach" not in stage else all("@" in entry for entry in instances)


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


@pytest.mark.parametrize("name", ["download", "prepare", "imagenet", "compare", "plots", "report"])
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
