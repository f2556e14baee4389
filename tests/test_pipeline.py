"""The real DAG, end to end, on a tiny data set in a clone of its own: repro, experiments, MLflow, errors."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
import yaml
from tiny_project import Project, tiny

from hw1.run.parameters.params import load

TRAINED = [
    *("start@P1B", "start@P3A", "start@P3B", "pretrain@supervised", "pretrain@byol", "classify@A", "classify@B"),
    *(f"finetune@{setting}" for setting in "ABCDE"),
    *("segment@A", "segment@B"),
]
AFTER_LR = [*(f"finetune@{setting}" for setting in "ABCDE"), "histories", "evaluate@p2", "compare", "plots", "report"]
LIGHT = ("histories", "compare", "plots", "report")  # they show parameters, which is not using them
UNDECLARED = {"checkpoint.minutes", "launch.devices"}  # change no result, or by rounding only
SETTLED = {"runtime.numerics", "runtime.threads"}  # by every stage at its start; only those that compute depend on them


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    trace = tmp_path_factory.mktemp("trace")
    project = Project(tmp_path_factory.mktemp("clone"), tiny(), OMP_NUM_THREADS="1", PARAMS_TRACE=str(trace))
    project.trace = trace
    project.first_output = project.run("dvc", "repro")
    return project


@pytest.fixture(scope="module")
def runs(project) -> list[dict]:
    """The runs in MLflow after the first repro."""
    return project.runs()


def stages_run(output: str) -> list[str]:
    return sorted(set(re.findall(r"Running stage '([^']+)'", output)))


def test_repro_runs_every_stage_once_in_plain_lines_and_a_second_nothing(project):
    listed = [line.split()[0] for line in project.run("dvc", "stage", "list").splitlines()]
    assert stages_run(project.first_output) == sorted(listed)
    assert "\x1b" not in project.first_output and "\r" not in project.first_output
    assert re.search(r"finetune@C  epoch 2/2  .*images/s", project.first_output)
    assert "Data and pipelines are up to date." in project.run("dvc", "repro")


def test_metrics_hold_a_fraction_for_every_model_from_the_last_row_of_its_history(project):
    for problem, task, models in (("p1", "classify", "AB"), ("p2", "finetune", "ABCDE"), ("p3", "segment", "AB")):
        metrics = project.json(f"metrics/{problem}.json")
        values = metrics["miou" if problem == "p3" else "accuracy"]
        assert "".join(sorted(values)) == models and metrics["data"] == "synthetic"
        for model, value in values.items():
            last = (project.folder / f"plots/history/{task}/{model}.csv").read_text().splitlines()[-1]
            assert 0 <= value <= 1 and float(last.split(",")[-1]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    "problem, data, task, measure", [("p2", "office", "finetune", "accuracy"), ("p3", "p3", "segment", "miou")]
)
def test_weights_of_the_best_epoch_score_what_the_histories_say(project, problem, data, task, measure, tmp_path):
    before = project.json(f"metrics/{problem}.json")
    assert before["keep"] == "last"
    text = (project.folder / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("keep: last", "keep: best"))
    sources = {"data": f"data/prepared/{data}", "models": f"models/{task}", "history": f"models/history/{task}"}
    options = [part for name, path in sources.items() for part in (f"--{name}", project.folder / path)]
    written = ("--metrics", "m.json", "--predictions", "p.csv", "--out", "evaluation")
    command = [sys.executable, "-m", "stages.evaluate", problem, *map(str, options), *written]
    environment = os.environ | {"PYTHONPATH": str(project.folder), "HW1_TRACKING": "off"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    best = json.loads((tmp_path / "m.json").read_text())
    assert best["keep"] == "best" and best[measure] == pytest.approx(before[f"best_{measure}"], abs=1e-6)


@pytest.mark.parametrize(
    "problem, measure, weights",
    [
        ("p1", "accuracy", "classify/B/weights"),
        ("p2", "accuracy", "finetune/C/weights"),
        ("p3", "miou", "segment/A/weights"),
    ],
)
def test_model_card_has_the_pipelines_own_number(problem, measure, weights, project, tmp_path):
    project.run(sys.executable, "-m", "hw1.predict.export", f"models/{weights}.safetensors", str(tmp_path / "hub"))
    value = re.search(rf": {measure} ([\d.]+) %", (tmp_path / "hub/README.md").read_text())[1]
    expected = project.json(f"metrics/{problem}.json")[measure][weights.split("/")[1]]
    assert float(value) == pytest.approx(100 * expected, abs=0.051)


def test_other_version_of_a_package_reruns_what_imports_it_unless_committed(project):
    environment, lock = project.folder / "environment.json", project.folder / "dvc.lock"
    before = environment.read_text(), lock.read_text()
    environment.write_text(before[0].replace('"scikit-learn": "', '"scikit-learn": "9'))
    assert sorted(json.loads(project.run("dvc", "status", "--json"))) == ["evaluate@p1", "evaluate@p2", "evaluate@p3"]
    project.run("dvc", "commit", "-f", "-q")
    assert "Data and pipelines are up to date." in project.run("dvc", "repro")
    environment.write_text(before[0])
    lock.write_text(before[1])


def test_every_parameter_is_used_by_a_stage_that_computes(project):
    used = set()
    for file in project.trace.iterdir():
        if file.stem not in LIGHT:
            used |= set(file.read_text().split())
    leaves = set(_leaves(yaml.safe_load((project.folder / "params.yaml").read_text())))
    by_dvc = {f"settings.{setting}.backbone" for setting in "ABCDE"}  # ${item.backbone} in dvc.yaml
    # Read with source: path, url, public; head: declared, loss: focal; a GPU.
    in_other_choices = {"data.path", "data.url", "data.originals", "classify.A.dropout", "launch.trainings_per_gpu"}
    in_other_choices |= {"segment.A.focal_alpha", "segment.A.focal_gamma"}
    of_clusters = {leaf for leaf in leaves if leaf.startswith("launch.slurm.")}  # read by hw1.repro.submit
    assert leaves - used == by_dvc | in_other_choices | of_clusters


def test_every_stage_declares_the_parameters_it_reads_and_no_others(project):
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    for stage, entry in lock.items():
        read = set((project.trace / f"{stage}.txt").read_text().split()) - UNDECLARED
        declared = set(entry.get("params", {}).get("params.yaml", {}))
        read -= SETTLED if "runtime" not in declared else set()
        undeclared = {key for key in read if not any(key == name or key.startswith(f"{name}.") for name in declared)}
        unread = {name for name in declared if not any(key == name or key.startswith(f"{name}.") for key in read)}
        assert (undeclared, unread) == (set(), set()), stage


def test_mlflow_has_one_finished_run_per_training_with_the_parameters_that_dvc_records(project, runs):
    assert sorted((run["name"], run["status"]) for run in runs) == sorted((s, "FINISHED") for s in TRAINED)
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    for run in runs:
        declared = lock[run["name"]]["params"]["params.yaml"]
        assert set(run["params"]) == set(_leaves(declared)), run["name"]


def test_mlflow_run_has_parameters_commit_curves_and_pictures(project, runs):
    run = next(run for run in runs if run["name"] == "finetune@C")
    assert run["params"]["settings.C.backbone"] == "byol" and run["params"]["lr"] == "0.0005"
    commit = project.run("git", "rev-parse", "HEAD").strip()
    assert run["tags"].items() >= {"git.commit": commit, "git.dirty": "false", "data": "synthetic"}.items()
    assert {"device", "cpu", "precision", "version.torch"} <= run["tags"].keys()
    assert run["steps"] == [1, 2] and "p2_curves.png" in run["pictures"]


@pytest.mark.parametrize(
    "old, new, error",
    [
        ("lr: 0.0005\nruntime", "lr: fast\nruntime", "lr: got 'fast', allowed: a number"),
        ("source: synthetic", "source: path", "hw1_data.zip: no such file or folder (data.path)"),
    ],
)
def test_wrong_parameter_ends_in_one_line_and_spoils_nothing(project, old, new, error):
    params = project.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace(old, new))
    output = project.run("dvc", "repro", *(["finetune"] if "lr" in error else []), status=255)
    params.write_text(before)
    assert f"error: {error}" in output and "Traceback" not in output
    assert stages_run(project.run("dvc", "repro")) == []  # restored from the cache, nothing trained again
    assert "hw1_data.zip: OK" in project.run("sh", "-c", "cd data/raw && sha256sum -c hw1_data.zip.sha256")


def test_same_seed_trains_and_scores_to_the_same_bytes_with_torch_as_it_is(project):
    """Its compiler, which stages leave out, included: it is loaded before them."""
    stages = ("pretrain@byol", "segment@B", "finetune@C", "evaluate@p2")
    before = [project.outputs(stage) for stage in stages]
    real = project.folder.parent / "real"
    real.mkdir()
    (real / "sitecustomize.py").write_text("import sys\nif sys.orig_argv[1:2] == ['-m']:\n    import torch._dynamo\n")
    anew = ("dvc", "repro", "-f", "-s", "--no-run-cache", *stages)
    ran = stages_run(project.run("env", f"PYTHONPATH={real}", *anew))
    assert ran == sorted(stages)
    assert [project.outputs(stage) for stage in stages] == before
    assert "metrics/p2.json" in before[-1] and "models/finetune/C" in before[-2]


def test_second_clone_pulls_every_result_and_trains_nothing(project, tmp_path):
    storage, clone = tmp_path / "storage", tmp_path / "clone"
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout", "-q")
    project.run("dvc", "remote", "add", "-d", "storage", str(storage))
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results and where they are kept")
    project.run("dvc", "push", "-q")
    project.run("git", "clone", "-q", ".", str(clone))
    project.run("sh", "-c", f"cd {clone} && dvc pull -q && dvc status -q")
    assert "Data and pipelines are up to date." in project.run("sh", "-c", f"cd {clone} && dvc repro")
    pulled = {path.relative_to(clone) for part in ("models", "report") for path in (clone / part).rglob("*.*")}
    assert {path.as_posix() for path in pulled} >= {"models/finetune/C/weights.safetensors", "report/index.html"}
    for path in pulled:
        assert (clone / path).read_bytes() == (project.folder / path).read_bytes()
    # One copy of each file: the workspace's is a link into the cache, where the file system has no reflinks.
    images = clone / "data/prepared/office/train_images.npy"
    copied = subprocess.run(["cp", "--reflink=always", images, clone / "copy"], capture_output=True)
    assert copied.returncode == 0 or images.stat().st_nlink == 2


def test_seeds_are_trained_side_by_side_once_and_shown_on_the_page(project):
    project.run("dvc", "exp", "run", "--queue", "-n", "low", "-S", "lr=1e-5")  # for the next tests, beside this one
    project.run("dvc", "queue", "start")
    output = project.run(sys.executable, "-m", "hw1.experiments.seeds", "1", "2", "--jobs", "2")
    assert "finetune@C seed 2: done in" in output and "`dvc repro` puts them on the page" in output
    before = project.run("git", "status", "--porcelain")
    output = project.run(sys.executable, "-m", "hw1.experiments.seeds", "1", "2", "--setting", "C")
    assert "setting C: mean" in output and " 0 ran" in output  # it was trained with the others
    assert project.run("git", "status", "--porcelain") == before
    assert stages_run(project.run("dvc", "repro")) == ["compare", "plots", "report"]
    seeds = (project.folder / "plots/statistics/seeds.csv").read_text().splitlines()
    models = [*(("p1", model) for model in "AB"), *(("p2", setting) for setting in "ABCDE"), ("p3", "A"), ("p3", "B")]
    assert [tuple(line.split(",")[:2]) for line in seeds[1:]] == models
    assert "trained anew with 2 seeds" in " ".join((project.folder / "report/index.html").read_text().split())
    for problem in ("p1", "p2", "p3"):
        kept = [(project.folder / f"plots/seeds/{seed}/{problem}.csv").read_bytes() for seed in (1, 2)]
        assert kept[0] == (project.folder / f"plots/predictions/{problem}.csv").read_bytes() != kept[1]


def test_trainings_of_seeds_are_in_the_tracking_database(project):
    of_seeds = [run for run in project.runs() if run["tags"].get("dvc.exp.name") == "seed-2"]
    assert {run["params"]["seed"] for run in of_seeds} == {"2"}
    assert sorted(run["name"] for run in of_seeds) == sorted(TRAINED)


def test_experiment_with_another_lr_reruns_finetuning_and_what_hangs_on_it(project):
    while "Success" not in (status := project.run("dvc", "queue", "status")):
        assert "Failed" not in status
        time.sleep(1)
    assert stages_run(project.run("dvc", "queue", "logs", "low")) == sorted(AFTER_LR)
    project.run("dvc", "exp", "branch", "low", "low-branch")
    params = project.folder.parent / "low.yaml"
    params.write_text(project.run("git", "show", "low-branch:params.yaml"))
    assert load(params).lr == 1e-5
    table = project.run("dvc", "metrics", "diff", "main", "low-branch", "--all")
    assert "accuracy.A" in table and "miou.B" in table and "iou.forest.A" in table
    queued = [run for run in project.runs() if run["tags"].get("dvc.exp.name") == "low"]  # in the same database
    assert sorted(run["name"] for run in queued) == AFTER_LR[:5]
    assert {float(run["params"]["lr"]) for run in queued} == {1e-5}
    assert all("p2_curves.png" in run["pictures"] for run in queued)
    table = project.run(sys.executable, "-m", "hw1.experiments.across", "lr")  # params.yaml has another
    assert re.search(r"^ *low +1e-05 ", table, re.M) and re.search(r"^ *working tree +0\.0005 ", table, re.M), table


def test_checkout_or_stash_of_results_trains_nothing_that_the_cache_has(project):
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results of both seeds")
    results = ("metrics", "plots", "dvc.lock")
    project.run("git", "checkout", "low-branch", "--", *results)
    assert not set(stages_run(project.run("dvc", "repro"))) & set(TRAINED)
    project.run("git", "diff", "--exit-code", "--stat", "HEAD", "--", *results)
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("lr: 0.0005\nruntime", "lr: 1e-05\nruntime"))
    project.run("dvc", "repro")
    assert project.run("git", "diff", "--stat", "HEAD", "--", "metrics/p2.json")
    project.run("git", "stash", "-q")
    assert not set(stages_run(project.run("dvc", "repro"))) & set(TRAINED)
    project.run("git", "diff", "--exit-code", "--stat", "HEAD", "--", *results)


def test_pulled_results_come_back_after_a_checkout_or_a_stash(project, tmp_path):
    """A clone has no run cache, as none of them was trained there."""
    clone, results = tmp_path / "clone", "metrics plots dvc.lock"
    project.run("dvc", "push", "-q", "--all-branches")
    project.run("git", "clone", "-q", ".", str(clone))

    def run(commands: str) -> str:
        return project.run("sh", "-c", f"cd {clone} && {commands}")

    run("git branch -q low-branch origin/low-branch && dvc fetch -q --all-branches && dvc checkout -q")
    for change in (f"git checkout -q low-branch -- params.yaml {results}", "git stash -q"):
        assert not set(stages_run(run(f"{change} && dvc repro"))) & set(TRAINED), change
    run(f"git diff --exit-code --stat HEAD -- {results}")


def _leaves(node: object, path: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [path]
    return [leaf for key, value in node.items() for leaf in _leaves(value, f"{path}.{key}" if path else key)]
