"""The verdict on a user's results beside a commit's, on made-up repositories."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from closure import ROOT

from hw1.experiments import reproduction
from hw1.experiments.reproduction import SHOWN, listing, verdict
from hw1.run.errors import InputError
from hw1.run.files import dvc_hash
from hw1.run.tracking.whereabouts import keep_record
from hw1.statistics.intervals import mcnemar_p

IMAGES = 20
P1 = ["image,label,A,B", *(f"{n}.png,1,{int(n < 12)},1" for n in range(IMAGES))]  # A: 12 of 20, B: all
CLASSES = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
CELLS = [f"{n},{model},{name},{5 + n},10,10,60" for n in range(6) for model in "AB" for name in CLASSES]
P3 = ["image,model,class,both,truth,predicted,pixels", *CELLS]
RUNTIME, FULL = {"numerics": "portable", "threads": 1}, {"train": "full"}
PARAMS = {"data": {"source": "path"}, "lr": 0.0005, "runtime": RUNTIME, "settings": {"A": FULL}}
DVC = {"stages": {"download": {}, "finetune": {"foreach": "${settings}"}, "evaluate": {}}}


def metrics(measure, **values):
    return json.dumps({measure: values, f"best_{measure}": values, "best_epoch": dict.fromkeys(values, 1)})


FILES = {
    "dvc.yaml": yaml.safe_dump(DVC),
    "params.yaml": yaml.safe_dump(PARAMS),
    "environment.json": json.dumps({"numpy": "2.4.6"}),
    "hw1/sources/draw.py": "draw",
    "hw1/engine/loop.py": "loop",
    "data/raw/hw1_data.zip": "archive",
    "models/A.safetensors": "weights",
    "models/history/A.csv": "epoch\n1\n",
    "metrics/p1.json": metrics("accuracy", A=0.6, B=1.0),
    "metrics/p2.json": metrics("accuracy", A=1.0),
    "metrics/p3.json": metrics("miou", A=0.5, B=0.5),
    "plots/predictions/p1.csv": "\n".join(P1) + "\n",
    "plots/predictions/p3.csv": "\n".join(P3) + "\n",
    "plots/statistics/seeds.csv": "problem,model,std\np1,A,0.0123\n",
    ".gitignore": "/models/\n/data/\n/.mlflow/\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A project with committed results as the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduction, "obstacles", list)
    for variable in ("DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(variable, raising=False)
    write(FILES)
    reproduce()
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "results"]):
        git(*command)
    return tmp_path


def write(files):
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def reproduce():
    """Write dvc.lock as `dvc repro` would after it had made the files that are here."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    stages = {"download": locked(["hw1/sources"], ["data/raw/hw1_data.zip"], {"data": params["data"]})}
    for setting in params["settings"]:
        outs = [f"models/{setting}.safetensors", f"models/history/{setting}.csv"]
        values = {"lr": params["lr"], "runtime": params["runtime"], f"settings.{setting}": params["settings"][setting]}
        stages[f"finetune@{setting}"] = locked(["data/raw/hw1_data.zip", "hw1/engine"], outs, values)
    stages["evaluate"] = locked(["models/A.safetensors"], ["metrics/p1.json", "plots/predictions"], {})
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def locked(deps, outs, params):
    hashes = ([{"path": path, "md5": dvc_hash(Path(path))} for path in paths] for paths in (deps, outs))
    environment = json.loads(Path("environment.json").read_text())
    files = {"params.yaml": params, "environment.json": environment}
    return {"cmd": "python", "params": files, **dict(zip(("deps", "outs"), hashes, strict=True))}


def git(*arguments):
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *author, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def parameters(**values):
    return {"params.yaml": yaml.safe_dump(PARAMS | values)}


def reasons(text):
    lines = text.partition("why that may be:\n")[2].partition("\n\n")[0].splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def run(*arguments, options=()):
    command = [sys.executable, *options, "-m", "hw1.experiments.reproduction", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "GIT_CEILING_DIRECTORIES": str(Path.cwd().parent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


NEW_WEIGHTS = {"models/A.safetensors": "others"}
ANOTHER_ARCHIVE, ANOTHER_LOOP = {"data/raw/hw1_data.zip": "another"}, {"hw1/engine/loop.py": "another"}
WITH_F, NATIVE = {"A": FULL, "F": FULL}, {"numerics": "native", "threads": 1}


# -- what differs


def test_command_tells_equal_results_of_a_branch_without_loading_what_is_slow(repository):
    done = run("main", options=["-X", "importtime"])
    equal = f"all 5 outputs are as committed (main {git('rev-parse', '--short', 'HEAD')}), byte for byte\n"
    assert (done.returncode, done.stdout) == (0, equal)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hw1.run.lockfile" in loaded and not loaded & {"dvc", "numpy", "pandas", "scipy", "torch"}


def test_file_of_git_that_was_edited_is_named_though_the_lock_is_equal(repository):
    write({"plots/predictions/p3.csv": "edited", "plots/predictions/more.csv": ""})
    text = verdict("HEAD")
    assert "  evaluate: plots/predictions (plots/predictions/more.csv, plots/predictions/p3.csv)" in text
    assert reasons(text) == ["edited since their stage wrote them: plots/predictions"]


def test_outputs_that_are_not_here_are_not_as_committed(repository):
    shutil.rmtree("models")
    text = verdict("HEAD")
    assert text.startswith("3 of 5 outputs are") and "models/A.safetensors (not here)" in text
    assert reasons(text) == ["2 are not here: `dvc repro` makes them"]


def test_output_that_another_stage_makes_now_is_one_output(repository):
    before = Path("dvc.lock").read_text()
    write({"dvc.lock": before.replace("evaluate:", "measure:")})
    git("commit", "-qam", "another stage")
    write({"dvc.lock": before})
    assert verdict("HEAD").startswith("all 5 outputs are as committed")


def test_setting_that_was_added_or_removed_is_named(repository):
    write({"dvc.yaml": yaml.safe_dump({"stages": {"download": {}, "evaluate": {}}})})  # dvc.lock keeps it
    text = verdict("HEAD")
    assert "  finetune@A: models/A.safetensors (only in the commit)" in text
    assert reasons(text) == ["stages: finetune@A only in the commit"]
    write(parameters(settings=WITH_F) | {name: FILES.get(name, "F") for name in ("dvc.yaml", "models/F.safetensors")})
    write({"models/history/F.csv": "epoch\n1\n"})
    reproduce()
    text = verdict("HEAD")
    assert "5 of 7 outputs" in text and "  finetune@F: models/F.safetensors (only here)" in text
    assert reasons(text) == ["stages: finetune@F only here"]


def test_list_of_outputs_is_bounded_over_all_stages():
    lines = listing({"a": {f"a{n}": "" for n in range(SHOWN - 1)}, "b": {"b0": "", "b1": "", "b2": ""}})
    assert lines[1:] == ["  b: b0", "  and 2 more"]


def download_another():
    write(ANOTHER_ARCHIVE)
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["download"]["outs"][0]["md5"] = dvc_hash(Path("data/raw/hw1_data.zip"))
    write({"dvc.lock": yaml.safe_dump(lock)})


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda: write(parameters(lr=0.001)), "lr 0.0005 -> 0.001"),
        (lambda: write(ANOTHER_LOOP), "hw1/engine"),
        (lambda: write({"environment.json": '{"numpy": "2.5"}'}), "numpy 2.4.6 -> 2.5"),
        (lambda: write(parameters(settings=WITH_F)), "finetune@F is new"),
        (download_another, "data/raw/hw1_data.zip"),
    ],
    ids=["parameter", "code", "version", "stage", "what another stage wrote"],
)
def test_results_of_before_a_change_are_told_to_be_outdated(change, reason, repository):
    change()
    lines = verdict("HEAD").splitlines()
    assert lines[0] == f"changed since the last run: {reason}; run `dvc repro` first"
    assert lines[1].startswith(f"{'4 of' if change is download_another else 'all'} 5 outputs are")


# -- why


@pytest.mark.parametrize(
    "files, causes",
    [
        (parameters(lr=0.001), ["parameters: lr 0.0005 -> 0.001"]),
        (parameters(runtime=NATIVE), ["parameters: runtime.numerics portable -> native"]),
        (parameters(data={"source": "url"}) | ANOTHER_ARCHIVE, ["data: data.source path -> url"]),
        (ANOTHER_LOOP, ["code: hw1/engine"]),
        (ANOTHER_ARCHIVE, ["data: the archive is another"]),
        ({"environment.json": json.dumps({"numpy": "2.5"})}, ["versions: numpy 2.4.6 -> 2.5"]),
        (
            parameters(lr=0.001) | ANOTHER_LOOP | {"hw1/sources/draw.py": "another"},
            ["code: hw1/sources, hw1/engine", "parameters: lr 0.0005 -> 0.001"],
        ),
    ],
    ids=["parameters", "numerics", "data parameters", "code", "archive", "versions", "several"],
)
def test_differing_output_is_named_with_its_stage_and_each_cause_once(files, causes, repository):
    write(files | NEW_WEIGHTS)
    reproduce()
    text = verdict("HEAD")
    assert " of 5 outputs are as committed (HEAD " in text and "\n  finetune@A: models/A.safetensors\n" in text
    assert reasons(text) == causes and text.endswith("\nno headline number differs")


@pytest.mark.parametrize(
    "changes, record, obstacles, reason",
    [
        ({"runtime": NATIVE}, {}, [], "runtime.numerics is native, so other CPUs round otherwise"),
        ({}, {"device": "NVIDIA H200"}, [], "trained on NVIDIA H200"),
        ({}, {"device": "x86_64, 1 threads", "ranks": "4"}, [], "trained by 4 ranks"),
        ({}, {"device": "x86_64, 1 threads"}, [], "the machine, or its C library"),
        ({}, {}, ["the CPU has no AVX2"], "the CPU has no AVX2"),
        ({"data": {"source": "synthetic"}}, {}, [], "the machine, or its C library"),  # the archive is drawn
    ],
)
def test_machine_explains_what_equal_inputs_do_not(changes, record, obstacles, reason, repository, monkeypatch):
    write(parameters(**changes))
    reproduce()
    git("commit", "--allow-empty", "-qam", "before")
    monkeypatch.setattr(reproduction, "obstacles", lambda: list(obstacles))
    keep_record(repository / "models/history/A.csv", record)
    drawn = "data" in changes
    write(ANOTHER_ARCHIVE if drawn else NEW_WEIGHTS)
    reproduce()
    stage = "download" if drawn else "finetune@A"
    assert reasons(verdict("HEAD")) == [f"equal inputs gave other outputs in {stage}: {reason}"]


def test_file_that_was_committed_without_its_lock_is_named(repository):
    write({"metrics/p1.json": metrics("accuracy", A=0.1, B=1.0)})
    git("commit", "-qam", "edited")
    write({"metrics/p1.json": FILES["metrics/p1.json"]})
    assert reasons(verdict("HEAD")) == ["committed without the dvc.lock of its run: metrics/p1.json"]


# -- the numbers


def cells_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name)).split()


def test_number_stands_beside_the_committed_one_with_mcnemars_test_and_the_deviation(repository):
    # A was right on images 0 to 11, and is now right on 3 to 11: three lost, none won.
    wrong = [line.replace(",1,1,1", ",1,0,1") if line[0] in "012" and line[1] == "." else line for line in P1]
    write({"plots/predictions/p1.csv": "\n".join(wrong) + "\n"})
    write({"metrics/p1.json": metrics("accuracy", A=0.45, B=1.0)})
    text = verdict("HEAD")
    assert cells_of(text, "P1 A") == ["P1", "A", "accuracy", "60.0", "%", "45.0", "%", "-15.0", "0.25", "1.2"]
    assert mcnemar_p(3, 0) == 2 * 0.5**3  # all three on one side, or all on the other
    assert cells_of(text, "P1 B")[-3:] == ["+0.0", "1", "-"]


def test_mean_iou_is_compared_by_swapping_the_same_tiles(repository):
    rows = [line.split(",") for line in P3]
    better = [",".join([*row[:3], "10" if row[1] == "A" else row[3], *row[4:]]) for row in rows]
    write({"plots/predictions/p3.csv": "\n".join(better) + "\n", "metrics/p3.json": metrics("miou", A=1.0, B=0.5)})
    text = verdict("HEAD")
    # Better on each of the six tiles: of 64 swaps, four are as far apart.
    assert float(cells_of(text, "P3 A")[-2]) == 0.062 and float(cells_of(text, "P3 B")[-2]) == 1


@pytest.mark.parametrize(
    "table, reason",
    [([*P1, "more.png,1,1,1"], "other images"), ([*P1[:-1], "19.png,0,0,1"], "other images"), ([], "no predictions")],
    ids=["other images", "other labels", "no predictions"],
)
def test_without_equal_images_there_is_no_test_and_without_committed_seeds_the_deviation_of_those_here(
    table, reason, repository
):
    git("rm", "-q", "--cached", "plots/statistics/seeds.csv")
    git("commit", "-qm", "no seeds")
    Path("plots/predictions/p1.csv").unlink()
    if table:
        write({"plots/predictions/p1.csv": "\n".join(table) + "\n"})
    write({"metrics/p1.json": metrics("accuracy", A=0.7, B=1.0)})
    assert cells_of(verdict("HEAD"), "P1 A")[-3:] == [*reason.split(), "1.2"]


# -- no commit, no results


def without_commit():
    shutil.rmtree(".git")
    git("init", "-q")


def without_lock():
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "none")


@pytest.mark.parametrize(
    "revision, spoil, told",
    [
        ("nosuch", list, "nosuch: no such commit, branch or tag"),
        ("HEAD", without_commit, "no commit yet"),
        ("main", without_lock, "main: has no dvc.lock"),
        ("HEAD", lambda: Path(".git/index").write_text("no index"), ".*index.*"),
        ("HEAD", lambda: Path("dvc.lock").unlink(), "dvc.lock: not there; run `dvc repro` first"),
    ],
)
def test_what_cannot_be_compared_is_an_error_of_one_line(revision, spoil, told, repository):
    spoil()
    with pytest.raises(InputError, match=f"^{told}$"):
        verdict(revision)


def test_machine_without_git_is_told_so(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(InputError, match=r"^git is not installed$"):
        verdict("HEAD")


@pytest.mark.parametrize(
    "spoil, told", [(without_lock, "HEAD: has no dvc.lock\n"), (lambda: shutil.rmtree(".git"), "not a git repository")]
)
def test_nothing_to_compare_with_is_told_in_a_line_and_no_error_where_none_was_named(spoil, told, repository):
    spoil()
    done = run()
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith(f"no committed results to compare with: {told}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_folder_of_another_user_is_told_with_gits_own_line(repository, monkeypatch):
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    trust = f"git config --global --add safe.directory {repository}"
    with pytest.raises(InputError, match=f"dubious ownership.*; run `{trust}`") as error:
        reproduction.locked_commit("HEAD")
    assert "git init" not in str(error.value)
