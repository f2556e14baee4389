"""Which seeds count: only those that belong to what is here now."""

import pytest

from stages.compare import seeds_of

HEADER = "image,label,A\n"


@pytest.fixture
def folder(tmp_path):
    """Predictions of the current seed, 1, and of seeds 1, 2 and 3."""
    (tmp_path / "p2.csv").write_text(f"{HEADER}0.jpg,0,0\n")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds/README.md").write_text("about")
    for seed in (1, 2, 3):
        (tmp_path / f"seeds/{seed}.csv").write_text(f"{HEADER}0.jpg,0,{seed - 1}\n")
    return tmp_path


def test_seeds_count_whose_current_one_is_the_current_predictions(folder, capsys):
    assert sorted(seeds_of(folder / "seeds", folder / "p2.csv", 1)) == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_seeds_of_other_predictions_are_left_out_and_told(folder, capsys):
    (folder / "p2.csv").write_text(f"{HEADER}0.jpg,0,9\n")
    assert seeds_of(folder / "seeds", folder / "p2.csv", 1) == {}
    assert "seeds kept there are not of these data, parameters and code" in capsys.readouterr().err


def test_seeds_without_the_current_one_are_left_out_and_told(folder, capsys):
    assert seeds_of(folder / "seeds", folder / "p2.csv", 4) == {}
    assert "python -m hw1.experiments.seeds" in capsys.readouterr().err


def test_one_seed_is_none_to_compare(folder, capsys):
    for seed in (2, 3):
        (folder / f"seeds/{seed}.csv").unlink()
    assert seeds_of(folder / "seeds", folder / "p2.csv", 1) == {}
    assert capsys.readouterr().err == ""
