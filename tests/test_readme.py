"""README's commands, tree, DAG and results against the project."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from closure import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def tree_of_readme() -> dict[str, str]:
    """Path -> comment of the tree in the README."""
    lines = re.search(r"## The tree\n\n```\n(.*?)```", README, re.S).group(1).splitlines()
    tree, folders = {}, []
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        name, comment = re.match(r"\s*(\S+)\s*(.*)", line).groups()
        folders = folders[:depth]
        tree["".join([*folders, name])] = comment
        if name.endswith("/"):
            folders.append(name)
    return tree


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_the_project_has(command):
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.M)
    elif program in ("cp", "pytest"):
        assert all((ROOT / word).exists() for word in words)
    elif program == "python":
        assert words[0] == "-m" and importlib.util.find_spec(words[1])
    else:
        known = (
            "dvc exp run|dvc exp show|dvc queue start|dvc metrics (show|diff)|dvc plots (show|diff)|mlflow ui|"
            "dvc remote add|dvc push|dvc pull|dvc repro"
        )
        assert re.match(rf"({known})\b", command)
        program = str(Path(sys.executable).parent / program)
        subprocess.run(
            [program, *words[: 1 if program.endswith("mlflow") else 2], "--help"], check=True, capture_output=True
        )


@pytest.mark.parametrize("override", re.findall(r"-S (\S+?)=", README))
def test_parameter_that_a_command_sets_exists(override):
    node = PARAMS
    for key in override.split("."):
        node = node[key]


def test_tree_names_every_tracked_file_of_the_code():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "hw1", "stages"], cwd=ROOT, capture_output=True, text=True
    )
    code = {name for name in listed.stdout.split() if (ROOT / name).is_file()}
    assert {path for path in tree_of_readme() if path.startswith(("hw1/", "stages/")) and path[-1] != "/"} == code


def test_everything_in_the_tree_exists_and_has_its_line():
    for path, comment in tree_of_readme().items():
        assert (ROOT / path).exists(), path
        assert comment, path


def expanded(stage: dict) -> Iterator[dict]:
    """The stages of a template, with their paths filled in; a stage without one as it is."""
    items = stage.get("foreach", [None])
    items = PARAMS["settings"] if items == "${settings}" else items
    for key in items:
        value = items[key] if isinstance(items, dict) else key

        def fill(match, key=key, value=value):
            name, _, field = match[1].partition(".")
            return str(key if name == "key" else value[field] if field else value)

        yield yaml.safe_load(re.sub(r"\$\{([\w.]+)\}", fill, yaml.safe_dump(stage.get("do", stage))))


def test_dag_has_the_edges_of_dvc_yaml():
    inner = [(name, each) for name, stage in STAGES.items() for each in expanded(stage)]
    makers = {}  # output -> stage
    for name, stage in inner:
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                makers[next(iter(out)) if isinstance(out, dict) else out] = name
    edges = set()
    for name, stage in inner:
        for dep in stage["deps"]:
            for out, maker in makers.items():
                if (f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")) and maker != name:
                    edges.add((maker, name))
    drawn = set(re.findall(r"^  (\w+)(?:\[.*\])? --> (\w+)", README, re.M))
    assert drawn == edges


def test_results_table_holds_the_committed_metrics():
    numbers = re.findall(r"\| (P\d [A-E]) \|[^|]*\| ([\d.]+) % \|", README)
    metrics = {name: json.loads((ROOT / f"metrics/{name}.json").read_text()) for name in ("p1", "p2", "p3")}
    expected = [
        (f"{name.upper()} {model}", f"{100 * value:.1f}")
        for name, values in (("p1", "accuracy"), ("p2", "accuracy"), ("p3", "miou"))
        for model, value in metrics[name][values].items()
    ]
    assert numbers == expected


def test_committed_results_are_well_above_chance():
    metrics = {name: json.loads((ROOT / f"metrics/{name}.json").read_text()) for name in ("p1", "p2", "p3")}
    for part, name in (("p1", "p1"), ("office", "p2")):
        chance = 1 / PARAMS["synthetic"][part]["classes"]
        assert min(metrics[name]["accuracy"].values()) >= 3 * chance
    # Predicting one class everywhere gives it at most its share of the pixels as IoU, and 0 to five others.
    # The commonest of the drawn classes covers 22 % of a large sample, under 30 % of any set of this size.
    assert min(metrics["p3"]["miou"].values()) >= 2 * 0.30 / 6


def test_committed_parameters_are_the_quick_preset():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets/quick.yaml").read_text()
