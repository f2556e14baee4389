"""What a user is told of his results beside a commit's, on made-up repositories."""

import copy
import json
import subprocess
import sys

import pytest
import yaml
from closure import ROOT

from hw1.experiments import reproduction
from hw1.experiments.reproduction import verdict
from hw1.run.errors import InputError
from hw1.run.whereabouts import keep_record
from hw1.statistics.intervals import mcnemar_p

IMAGES = 20
P1 = ["image,label,A,B", *(f"{n}.png,1,{int(n < 12)},1" for n in range(IMAGES))]  # A: 12 of 20, B: all
P2 = ["image,label,A", *(f"{n}.png,0,0" for n in range(IMAGES))]
CLASSES = ("urban", "agriculture", "rangeland", "forest", "water", "barren")
P3 = [
    "image,model,class,both,truth,predicted,pixels",
    *(f"{n},{model},{name},{5 + n},10,10,60" for n in range(6) for model in "AB" for name in CLASSES),
]
LOCK = {
    "schema": "2.0",
    "stages": {
        "download": {
            "cmd": "python -m stages.download",
            "deps": [{"path": "hw1/sources", "md5": "s1"}],
            "params": {"params.yaml": {"data": {"source": "path"}}},
            "outs": [{"path": "data/raw/hw1_data.zip", "md5": "z1"}],
        },
        "finetune@A": {
            "cmd": "python -m stages.finetune A",
            "deps": [{"path": "data/raw/hw1_data.zip", "md5": "z1"}, {"path": "hw1/engine", "md5": "e1"}],
            "params": {
                "params.yaml": {"lr": 0.0005, "runtime": {"numerics": "portable", "threads": 1}},
                "environment.json": {"numpy": "2.4.6"},
            },
            "outs": [{"path": "models/A.safetensors", "md5": "a1"}, {"path": "models/history/A.csv", "md5": "h1"}],
        },
        "evaluate": {
            "cmd": "python -m stages.evaluate",
            "deps": [{"path": "models/A.safetensors", "md5": "a1"}],
            "outs": [{"path": "metrics/p1.json", "md5": "m1"}, {"path": "plots/predictions", "md5": "p1"}],
        },
    },
}


def metrics(measure, **values):
    return {measure: values, f"best_{measure}": values, "best_epoch": dict.fromkeys(values, 1)}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A project with committed results as the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduction, "obstacles", list)
    for variable in ("DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(variable, raising=False)
    write_lock(LOCK)
    files = {
        "metrics/p1.json": json.dumps(metrics("accuracy", A=0.6, B=1.0)),
        "metrics/p2.json": json.dumps(metrics("accuracy", A=1.0)),
        "metrics/p3.json": json.dumps(metrics("miou", A=0.5, B=0.5)),
        "plots/predictions/p1.csv": "\n".join(P1) + "\n",
        "plots/predictions/p2.csv": "\n".join(P2) + "\n",
        "plots/predictions/p3.csv": "\n".join(P3) + "\n",
        "plots/statistics/seeds.csv": "problem,model,std\np1,A,0.0123\n",
        "models/history/A.csv": "epoch\n1\n",
        ".gitignore": "/models/\n/data/\n/.mlflow/\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "results"]):
        git(*command)
    return tmp_path


def git(*arguments):
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *author, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def write_lock(lock):
    with open("dvc.lock", "w") as file:
        yaml.safe_dump(lock, file)


def changed_lock(*changes):
    """Write the lock with each (stage, kind, path or file, value or parameters) changed."""
    lock = copy.deepcopy(LOCK)
    for stage, kind, name, value in changes:
        entry = lock["stages"][stage]
        if kind == "params":
            entry.setdefault("params", {})[name] = value
        else:
            next(each for each in entry[kind] if each["path"] == name)["md5"] = value
    write_lock(lock)


WEIGHTS = ("finetune@A", "outs", "models/A.safetensors", "a2")


def test_equal_results_are_one_line(repository):
    assert (
        verdict("HEAD") == f"all 5 outputs are as committed (HEAD {git('rev-parse', '--short', 'HEAD')}), byte for byte"
    )


def test_command_prints_the_verdict_of_a_branch(repository):
    command = [sys.executable, "-m", "hw1.experiments.reproduction", "main"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("all 5 outputs are as committed (main ")


def test_differing_weights_are_named_with_their_stage(repository):
    changed_lock(WEIGHTS)
    lines = verdict("HEAD").splitlines()
    assert lines[0].startswith("4 of 5 outputs are as committed (HEAD ")
    assert lines[1] == "  finetune@A: models/A.safetensors"


def test_file_of_git_that_was_edited_is_named_though_the_lock_is_equal(repository):
    (repository / "plots/predictions/p2.csv").write_text("edited")
    (repository / "plots/predictions/more.csv").touch()
    text = verdict("HEAD")
    assert "  evaluate: plots/predictions (plots/predictions/more.csv, plots/predictions/p2.csv)" in text
    assert "with equal inputs, evaluate: another C library, or files edited by hand" in text


@pytest.mark.parametrize(
    "change, cause",
    [
        (
            ("finetune@A", "params", "params.yaml", {"lr": 0.001, "runtime": {"numerics": "portable", "threads": 1}}),
            "parameters: lr 0.0005 -> 0.001",
        ),
        (
            ("finetune@A", "params", "params.yaml", {"lr": 0.0005, "runtime": {"numerics": "native", "threads": 1}}),
            "parameters: runtime.numerics portable -> native",
        ),
        (("finetune@A", "deps", "hw1/engine", "e2"), "code: hw1/engine"),
        (("finetune@A", "params", "environment.json", {"numpy": "2.5"}), "versions: numpy 2.4.6 -> 2.5"),
        (("download", "outs", "data/raw/hw1_data.zip", "z2"), "data: the archive is another"),
    ],
    ids=["parameters", "numerics", "code", "versions", "data"],
)
def test_cause_is_named_once_and_no_other(change, cause, repository):
    archive = ("finetune@A", "deps", "data/raw/hw1_data.zip", "z2") if "archive" in cause else change
    changed_lock(change, archive, WEIGHTS, ("evaluate", "deps", "models/A.safetensors", "a2"))
    text = verdict("HEAD")
    assert text[text.index("why that may be:") :].splitlines()[1:-1] == [f"  {cause}"]


def test_setting_that_was_added_is_named(repository):
    lock = copy.deepcopy(LOCK)
    lock["stages"]["finetune@F"] = lock["stages"]["finetune@A"] | {"outs": [{"path": "models/F", "md5": "f1"}]}
    write_lock(lock)
    text = verdict("HEAD")
    assert "5 of 6 outputs" in text and "  finetune@F: models/F" in text and "stages: finetune@F only here" in text


def test_native_numerics_explain_what_equal_inputs_do_not(repository):
    lock = copy.deepcopy(LOCK)
    lock["stages"]["finetune@A"]["params"]["params.yaml"]["runtime"]["numerics"] = "native"
    write_lock(lock)
    git("commit", "-qam", "native")
    lock["stages"]["finetune@A"]["outs"][0]["md5"] = "a2"
    write_lock(lock)
    assert "with equal inputs, finetune@A: runtime.numerics is native" in verdict("HEAD")


@pytest.mark.parametrize(
    "record, reason",
    [
        ({"device": "NVIDIA H200"}, "trained on NVIDIA H200"),
        ({"device": "x86_64, 1 threads", "ranks": "4"}, "trained by 4 ranks"),
        ({"device": "x86_64, 1 threads"}, "another C library"),
    ],
)
def test_device_of_the_training_explains_what_equal_inputs_do_not(record, reason, repository):
    keep_record(repository / "models/history/A.csv", record)
    changed_lock(WEIGHTS)
    assert f"with equal inputs, finetune@A: {reason}" in verdict("HEAD")


def test_machine_without_avx2_is_named(repository, monkeypatch):
    monkeypatch.setattr(reproduction, "obstacles", lambda: ["the CPU has no AVX2"])
    changed_lock(WEIGHTS)
    assert "with equal inputs, finetune@A: the CPU has no AVX2" in verdict("HEAD")


def cells_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name)).split()


def test_number_stands_beside_the_committed_one_with_mcnemars_test_and_the_deviation(repository):
    # A was right on images 0 to 11, and is now right on 3 to 11: three lost, none won.
    wrong = [line.replace(",1,1,1", ",1,0,1") if line[0] in "012" and line[1] == "." else line for line in P1]
    (repository / "plots/predictions/p1.csv").write_text("\n".join(wrong) + "\n")
    (repository / "metrics/p1.json").write_text(json.dumps(metrics("accuracy", A=0.45, B=1.0)))
    text = verdict("HEAD")
    assert cells_of(text, "P1 A") == ["P1", "A", "accuracy", "60.0", "%", "45.0", "%", "-15.0", "0.25", "1.2"]
    assert mcnemar_p(3, 0) == 0.25
    assert cells_of(text, "P1 B")[-3:] == ["+0.0", "1", "-"]


def test_mean_iou_is_compared_by_the_bootstrap_over_the_same_tiles(repository):
    better = [line.replace(",A,", ",A,", 1) for line in P3]
    better = [
        ",".join([*parts[:3], "10", *parts[4:]]) if (parts := line.split(","))[1] == "A" else line for line in better
    ]
    (repository / "plots/predictions/p3.csv").write_text("\n".join(better) + "\n")
    (repository / "metrics/p3.json").write_text(json.dumps(metrics("miou", A=1.0, B=0.5)))
    text = verdict("HEAD")
    assert float(cells_of(text, "P3 A")[-2]) < 0.01 and float(cells_of(text, "P3 B")[-2]) == 1


def test_other_images_have_no_test(repository):
    (repository / "plots/predictions/p1.csv").write_text("\n".join([*P1, "more.png,1,1,1"]) + "\n")
    (repository / "metrics/p1.json").write_text(json.dumps(metrics("accuracy", A=0.7, B=1.0)))
    assert "other images" in " ".join(cells_of(verdict("HEAD"), "P1 A"))


def test_numbers_that_are_equal_are_no_table(repository):
    changed_lock(WEIGHTS)
    assert verdict("HEAD").endswith("\nno headline number differs")


def test_unknown_revision_is_an_error(repository):
    with pytest.raises(InputError, match=r"^nosuch: no such commit, branch or tag$"):
        verdict("nosuch")


def test_commit_without_results_is_an_error(repository):
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "none")
    with pytest.raises(InputError, match=r"^HEAD: has no dvc\.lock"):
        verdict("HEAD")


def test_folder_without_git_is_told_in_a_line_and_is_no_error(tmp_path):
    command = [sys.executable, "-m", "hw1.experiments.reproduction"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no commit here to compare the results with\n")
