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
        *("hw1/experiments/across.py", "hw1/experiments/seeds.py"),
    },
    "rich": {"hw1/repro/screen.py"},
    "mlflow": {"hw1/run/tracking/sender.py"},
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
    """The versions in environment.json that a stage of dvc.yaml depends on."""
    (listed,) = (entry["environment.json"] for entry in body(stage)["params"] if isinstance(entry, dict))
    return listed


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_its_script_and_the_packages_that_it_imports_and_no_others(name):
    code = code_deps(STAGES[name])
    assert f"stages/{name}.py" in code and "hw1/run" not in code and len(code) - 1 <= 6
    closure = import_closure(f"stages.{name}")
    allowed = (*code, "hw1/run", "stages/__init__.py")
    assert {path for path in closure if not path.startswith((*allowed, PACKAGE))} == set()
    assert set(code) - {f"stages/{name}.py"} <= {path.rpartition("/")[0] for path in closure}


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_the_versions_of_python_and_of_what_it_imports(name):
    assert versions_of(STAGES[name]) == ["python", *sorted(packages_behind(f"stages.{name}"))]


def test_versions_recorded_are_those_that_setup_installs_and_that_stages_depend_on():
    assert {"python", *PACKAGES} == {name for stage in STAGES.values() for name in versions_of(stage)}
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert {"python": "", **{name: pinned[name] for name in PACKAGES}} == ENVIRONMENT | {"python": ""}


def test_lock_holds_the_stages_of_the_dag_with_the_versions_recorded():
    """Python's aside, which is whatever the tests run on."""
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    assert {name.partition("@")[0] for name in locked} == set(STAGES)
    for name, entry in locked.items():
        stage = STAGES[name.partition("@")[0]]
        assert ("@" in name) == ("foreach" in stage)
        wanted = {package: ENVIRONMENT[package] for package in versions_of(stage)}
        assert entry["params"]["environment.json"] | {"python": ""} == wanted | {"python": ""}, name


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


@pytest.mark.parametrize("name", STAGES)
def test_command_runs_the_stage_of_that_name_and_has_only_deps_and_outs_as_paths(name):
    stage = body(STAGES[name])
    assert stage["cmd"].startswith(f"python -m stages.{name} ")
    declared = list(stage["deps"])
    for kind in ("outs", "metrics", "plots"):
        declared += [next(iter(out)) if isinstance(out, dict) else out for out in stage.get(kind, [])]
    for path in (word for word in stage["cmd"].split() if "/" in word):
        assert any(entry == path or entry.startswith(f"{path}/") for entry in declared), path


@pytest.mark.parametrize("name", ["download", "prepare", "imagenet", "compare", "plots", "report"])
def test_light_stage_does_not_import_torch(name):
    assert not external_closure(f"stages.{name}") & {"torch", "torchvision", "sklearn", "mlflow", "dvc"}


def test_modules_import_only_from_their_own_layer_or_below():
    heights = {layer: height for height, layer in enumerate(LAYERS)}
    for path in LIBRARY:
        height = heights.get(Path(path).parts[1], -1)
        for name in imported_names(ROOT / path):
            if module_file(name) is not None:
                assert heights.get(name.split(".")[1], -1) <= height, f"{path} imports {name}"


@pytest.mark.parametrize("library", HOMES)
def test_library_is_imported_in_one_place(library):
    users = {path for path in LIBRARY if any(n.split(".")[0] == library for n in imported_names(ROOT / path))}
    assert users == HOMES[library]
