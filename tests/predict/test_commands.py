"""The commands as a shell calls them: where models lie, what is printed, how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cards import saved
from PIL import Image
from tiny_project import SHORT_START

from hw1.data.classes import MASK_COLOURS
from hw1.predict import __main__ as command
from hw1.predict import score
from hw1.run.processes.supervision import run_stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's root with the final models of two trainings and one fine-tuning, and pictures."""
    monkeypatch.chdir(tmp_path)
    for stage in ("classify@A", "classify@B", "finetune@C", "segment@B"):
        saved(stage, tmp_path / f"models/{stage.replace('@', '/')}/weights.safetensors")
    for number in range(6):
        picture(tmp_path / f"images/{number}_{number}.png", number)
        picture(tmp_path / f"tiles/{number:04d}_sat.jpg", number)
    (tmp_path / "t.csv").write_text("id,filename\n" + "".join(f"{n},{n}_{n}.png\n" for n in range(6)))
    return tmp_path


def picture(path, seed):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 32, 3), np.uint8)).save(path)


def run(main, *arguments):
    """Exit status of a command in this process."""
    before, sys.argv = sys.argv, ["command", *map(str, arguments)]
    try:
        run_stage(main)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code
    finally:
        sys.argv = before
    return 0


def predicted(*options):
    assert run(command.main, "p1", "images", "out.csv", "--device", "cpu", *options) == 0
    return Path("out.csv").read_text()


def test_p1_takes_model_b_or_the_weights_that_are_asked_for_and_scores_by_file_names(project, capsys):
    last, other = predicted(), predicted("--model", "A")
    assert capsys.readouterr().out.startswith("accuracy 0.")
    assert last.splitlines()[0] == "filename,label" and len(last.splitlines()) == 7
    given = "models/classify/B/best.safetensors"
    (project / "models/classify/A/weights.safetensors").rename(project / given)
    assert predicted("--keep", "best") == predicted("--weights", given) == other != last == predicted()


def test_p2_takes_setting_c_and_without_labels_prints_nothing(project, capsys):
    assert run(command.main, "p2", "t.csv", "images", "out.csv", "--device", "cpu") == 0
    lines = (project / "out.csv").read_text().splitlines()
    assert lines[0] == "id,filename,label" and lines[3].startswith("2,2_2.png,")
    assert capsys.readouterr().out == ""


def test_p3_prints_the_ious_of_tiles_with_masks(project, capsys):
    (project / "truth").mkdir()
    for number in (0, 1):
        mask = MASK_COLOURS[np.arange(40 * 32).reshape(40, 32) % 7 // (1 + number)]
        Image.fromarray(mask).save(project / f"tiles/{number:04d}_mask.png")
        Image.fromarray(mask).save(project / f"truth/{number:04d}_mask.png")
    assert run(command.main, "p3", "tiles", "masks", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert "mean IoU" in printed and "(2 tiles)" in printed
    assert len(list((project / "masks").iterdir())) == 6
    assert run(score.main, "truth", "masks") == 0
    assert capsys.readouterr().out == printed


def test_true_masks_of_one_class_give_no_score_and_one_line(project, capsys):
    Image.fromarray(np.zeros((40, 32, 3), np.uint8)).save(project / "tiles/0000_mask.png")
    assert run(command.main, "p3", "tiles", "masks", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert out == "" and "no score: every pixel of every mask is unknown (black), one class alone; are these" in err


def test_unreadable_image_ends_with_status_3_the_rest_written_and_what_was_read_told(project, capsys):
    (project / "images/3_3.png").write_bytes(b"none")
    (project / "images/notes.txt").write_text("mine")
    assert run(command.main, "p1", "images", "out.csv", "--device", "cpu") == 3
    told = capsys.readouterr().err
    assert "images/3_3.png: not a JPEG, PNG, WebP, BMP or TIFF picture" in told
    assert "read 6 pictures; left out 1 (no JPEG, PNG, WebP, BMP or TIFF picture): notes.txt\n" in told
    assert told.endswith("1 of 6 images could not be read; the others are done\n")
    assert len((project / "out.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (
            ["p2", "t.csv", "images", "out.csv", "--setting", "E"],
            "models/finetune/E/weights.safetensors: no such weights",
        ),
        (["p1", "none", "out.csv"], "none: no such folder"),
        (["p1", "images", "out.csv", "--batch-size", "0"], "--batch-size: got 0, allowed: 1 or more"),
        (["p2", "t.csv", "images", "t.csv"], "t.csv: would be written over what is read; give another name"),
        (["p2", "t.csv", "tiles", "out.csv"], "none of the 6 images could be read; nothing is written"),
        (["p3", "tiles", "tiles"], "tiles: would be written over what is read; give another name"),
        (
            ["p1", "images", "out.csv", "--weights", "models/finetune/C/weights.safetensors"],
            "models/finetune/C/weights.safetensors: weights of finetune@C, but those of classify are needed",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, reason, project, capsys):
    assert run(command.main, *arguments) == 1
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith(f"error: {reason}") and "Traceback" not in told
    assert not (project / "out.csv").exists()
    assert (project / "t.csv").read_text().startswith("id,filename\n0,0_0.png\n")


def test_interrupted_command_leaves_no_file_and_one_line(project):
    for number in range(6, 3000):
        os.link(project / "images/0_0.png", project / f"images/{number}.png")
    (project / "t.csv").write_text("id,filename\n" + "".join(f"{n},{n}.png\n" for n in range(6, 3000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "hw1.predict", "p2", "t.csv", "images", "out.csv", "--batch-size", "1"],
        cwd=project,
        env=os.environ | SHORT_START,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    draft, deadline = project / ".out.csv.tmp/out.csv", time.monotonic() + 60
    while not draft.exists():  # in the middle of its work
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == "stopped by SIGINT; what is not whole was not written\n"
    assert not (project / "out.csv").exists() and not draft.parent.exists()
