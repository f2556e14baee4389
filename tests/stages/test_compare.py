"""The seeds that count: only those that belong to what is here now."""

import shutil

import pytest

from stages.compare import seeds_of


def write(folder, said):
    folder.mkdir(parents=True, exist_ok=True)
    for problem in ("p1", "p2", "p3"):
        (folder / f"{problem}.csv").write_text(f"image,label,A\n0.jpg,0,{said}\n")


@pytest.fixture
def folder(tmp_path):
    """Predictions of the current seed, 1, and of seeds 1, 2 and 3."""
    write(tmp_path / "now", 0)
    for seed in (1, 2, 3):
        write(tmp_path / f"seeds/{seed}", seed - 1)
    (tmp_path / "seeds/README.md").write_text("about")
    return tmp_path


def test_seeds_count_whose_current_one_is_the_current_predictions(folder, capsys):
    found = seeds_of(folder / "seeds", folder / "now", 1)
    assert sorted(found) == [1, 2, 3] and list(found[2]["p3"]["A"]) == [1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("seed, problem", [(1, "p1"), (1, "p2"), (1, "p3"), (4, "p1")])
def test_seeds_of_other_predictions_or_without_the_current_one_are_left_out_and_told(folder, seed, problem, capsys):
    if seed == 1:
        (folder / f"now/{problem}.csv").write_text("image,label,A\n0.jpg,0,9\n")
    assert seeds_of(folder / "seeds", folder / "now", seed) == {}
    assert "seeds kept there are not of these data, parameters, code and numerics" in capsys.readouterr().err


def test_one_seed_is_none_to_compare(folder, capsys):
    for seed in (2, 3):
        shutil.rmtree(folder / f"seeds/{seed}")
    assert seeds_of(folder / "seeds", folder / "now", 1) == {}
    assert capsys.readouterr().err == ""
