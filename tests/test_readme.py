"""README and the documents against the project: commands, links, paths, numbers, DAG, tree, packages, picture."""

import csv
import functools
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from closure import ROOT
from PIL import Image

from docs.refresh import CLAIMS, FIGURES, PHOTOGRAPHS, extract, read_claims, shown, with_claims, with_results
from hw1.report.page import data_uri
from hw1.report.summary import Headline, read_metrics, results
from hw1.run.errors import InputError
from hw1.statistics.evidence import read_intervals

README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "benchmarks/README.md", *(ROOT / "docs").glob("*.md")])
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
VENV = Path(sys.executable).parent
SYSTEM = {"curl"}  # programs that are not the project's


def command_lines() -> list[str]:
    """Lines of the documents' shell blocks, with their comments; scripts, which begin with #!, are left out."""
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.S)]
    return [line for block in blocks if not block.startswith("#!") for line in block.splitlines() if line]


COMMANDS = sorted({line.partition("  #")[0].rstrip() for line in command_lines()})


@functools.cache
def help_of(*command: str) -> str:
    """Help text of a program of the environment; fails if it does not know the subcommand."""
    program = str(VENV / command[0])
    return subprocess.run([program, *command[1:], "--help"], check=True, capture_output=True, text=True).stdout


def options_in(module: str) -> set[str]:
    """The options that the files beside a module, or in its package, define."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    folder = Path(spec.origin).parent if spec.origin else Path(spec.submodule_search_locations[0])
    return {option for path in folder.glob("*.py") for option in re.findall(r'"(--?[a-z-]+)"', path.read_text())}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_the_project_has(command):
    words = [word for word in shlex.split(command) if word != "&"]
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    program, *words = words
    options = {word for word in words if re.match(r"--?[a-zA-Z]", word)}
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{words[0]}:", makefile, re.M)
        assert all(word.partition("=")[0] in makefile for word in words[1:])
    elif program in ("cp", "pytest"):
        assert all((ROOT / word).exists() for word in words)
    elif program == "python":
        assert words[0] == "-m"
        assert options - {"-m"} <= options_in(words[1])
    elif program in ("dvc", "mlflow"):
        depth = 1 if program == "mlflow" or words[0] in ("push", "pull", "repro") else 2
        text = help_of(program, *words[:depth])
        assert all(re.search(rf"(?<![\w-]){option}\b", text) for option in options)
    else:
        assert program in SYSTEM or (VENV / program).is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_parameter_that_a_command_sets_exists(path):
    for override in re.findall(r"-S ([\w.]+)=", path.read_text()):
        node = PARAMS
        for key in override.split("."):
            assert key in node, override
            node = node[key]


def anchors(path: Path) -> set[str]:
    """Names that GitHub gives the headings of a document in links."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_of_the_project(path):
    for link in re.findall(r"\]\(([^)\s]+)\)|^\[\w+\]: (\S+)$", path.read_text(), re.M):
        link = "".join(link)
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_that_a_document_names_exist(path):
    named = re.findall(r"`((?:hw1|stages|tests|docs|benchmarks|presets|metrics|plots)/[\w./]*)`", path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def numbers_in(text: str) -> list[str]:
    """Absolute numbers of a text, without thousands' commas: 4, 0.05, 1e-8; 2:37 is one too."""
    numbers = re.findall(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+|:\d\d)?", text)
    return [number.replace(",", "") for number in numbers]


@functools.cache
def rows_of(path: Path) -> list[list[str]]:
    """Numbers of each row of a data file; of one with a column ``value`` that column's alone."""
    if path.suffix != ".csv":
        return [numbers_in(line) for line in path.read_text().splitlines()]
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [[n for key in row if key == "value" or "value" not in row for n in numbers_in(row[key])] for row in rows]


def rounds_to(value: str, shown: str) -> bool:
    """Whether a file's number, or 100 times it, is the shown one at its decimals; the sign is left out."""
    if value == shown or ":" in value + shown:
        return value == shown
    decimals = len(shown.partition(".")[2])
    return float(shown) in (round(float(value), decimals), round(100 * float(value), decimals))


def measured_links(path: Path) -> list[tuple[str, Path]]:
    """Text and file of each link to data; a table row's links to one file are one, as it is one row there."""
    text = path.read_text()
    files = {name: path.parent / link for name, link in re.findall(r"^\[(\w+)\]: (\S+)$", text, re.M)}
    links = []
    for line in text.splitlines():
        texts = {}
        for number, (words, name) in enumerate(re.findall(r"\[([^\]]*\d[^\]]*)\]\[(\w+)\]", line)):
            texts.setdefault((name, 0 if line.startswith("|") else number), []).append(words)
        links += [(" ".join(words), files[name]) for (name, _), words in texts.items()]
    return links


MEASUREMENTS = list(csv.DictReader((ROOT / "docs/measured.csv").read_text().splitlines()))
MEASURED = [(path, *link) for path in DOCUMENTS for link in measured_links(path)]


@pytest.mark.parametrize(("path", "words", "file"), MEASURED, ids=lambda part: getattr(part, "name", part))
def test_number_that_links_to_a_file_stands_in_a_row_of_it(path, words, file):
    shown = numbers_in(words)
    assert shown
    assert any(all(any(rounds_to(value, each) for value in row) for each in shown) for row in rows_of(file))


def times_beside_commands() -> set[str]:
    """Times in the comments of shell blocks, such as 4 min 31 s."""
    comments = [line.partition("  #")[2] for line in command_lines()]
    return {time for text in comments for time in re.findall(r"(?:\d+ min )?[\d.]+ s\b|\d+ min\b", text)}


def test_time_beside_a_command_was_measured():
    assert times_beside_commands()
    assert times_beside_commands() <= {row["value"] for row in MEASUREMENTS}


def test_measurement_has_its_date_and_is_used():
    linked = [numbers_in(words) for _, words, file in MEASURED if file.name == "measured.csv"]
    linked += [numbers_in(time) for time in times_beside_commands()]
    linked = [shown for shown in linked if shown]
    for row in MEASUREMENTS:
        assert re.search(r"\d{4}-\d\d-\d\d$", row["date"])
        values = numbers_in(row["value"])
        assert any(set(shown) <= set(values) for shown in linked), row["what"]


def test_documents_stay_short():
    assert 6_000 <= len(README.encode()) <= 9_000
    assert sum(len(path.read_text().split()) for path in DOCUMENTS if path.parent.name != "benchmarks") <= 10_000


def test_first_screen_says_what_it_is_and_shows_it():
    first, image, command = re.search(r"\n\n(.*?)\n\n!\[.+?\]\((.+?)\)\n\n```sh\n(.*?)```", README, re.S).groups()
    assert first.count(". ") == 1 and first.endswith(".")  # two sentences
    assert (image, command) == ("docs/page.png", "make repro\n")


def test_every_document_is_linked_from_readme():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", README)}
    assert {path.resolve() for path in DOCUMENTS} - {ROOT / "README.md"} <= linked


def tree_of_layout() -> dict[str, str]:
    """Path -> comment of the tree in docs/layout.md."""
    lines = re.search(r"## The tree\n\n```\n(.*?)```", (ROOT / "docs/layout.md").read_text(), re.S)[1].splitlines()
    tree, folders = {}, []
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        name, comment = re.match(r"\s*(\S+)\s*(.*)", line).groups()
        folders = folders[:depth]
        tree["".join([*folders, name])] = comment
        if name.endswith("/"):
            folders.append(name)
    return tree


def test_tree_names_every_stage_and_every_folder_of_the_library():
    command = ["git", "ls-files", "-co", "--exclude-standard", "hw1", "stages"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()
    code = [Path(name) for name in listed if (ROOT / name).is_file()]
    folders = {f"{folder.as_posix()}/" for path in code for folder in path.parents[:-1]}
    stages = {path.as_posix() for path in code if path.parts[0] == "stages"}
    assert {path for path in tree_of_layout() if path.startswith(("hw1/", "stages/"))} == folders | stages


def test_everything_in_the_tree_exists_and_has_its_line():
    for path, comment in tree_of_layout().items():
        assert (ROOT / path).exists(), path
        assert comment, path


def test_layout_says_what_an_edit_in_each_package_reruns():
    listed = dict(re.findall(r"^\| `(hw1/\w+)` \| (.*) \|$", (ROOT / "docs/layout.md").read_text(), re.M))
    packages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hw1").iterdir() if any(path.glob("*.py"))}
    rerun = {
        package: [name for name, stage in STAGES.items() if package in stage.get("do", stage)["deps"]]
        for package in packages
    }
    assert listed == {package: ", ".join(names) or "nothing" for package, names in rerun.items()}


def test_benchmarks_readme_names_every_file_of_theirs():
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", (ROOT / "benchmarks/README.md").read_text(), re.M))
    assert listed == {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"__main__.py"}


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


def test_results_table_holds_the_committed_numbers():
    numbers = re.findall(r"\| (P\d [A-Z]) \|[^|]*\| ([\d.]+) \| ([\d.]+ to [\d.]+) \|", README)
    metrics = {name: json.loads((ROOT / f"metrics/{name}.json").read_text()) for name in ("p1", "p2", "p3")}
    lines = (ROOT / "plots/statistics/intervals.csv").read_text().splitlines()[1:]
    intervals = {tuple(line.split(",")[:3]): [100 * float(x) for x in line.split(",")[4:6]] for line in lines}
    expected = []
    for name, measure in (("p1", "accuracy"), ("p2", "accuracy"), ("p3", "miou")):
        for model, value in metrics[name][measure].items():
            low, high = intervals[name, model, measure]
            expected.append((f"{name.upper()} {model}", f"{100 * value:.1f}", f"{low:.1f} to {high:.1f}"))
    assert numbers == expected


def test_refreshing_leaves_a_current_readme_as_it_is():
    rows, intervals = results(read_metrics(ROOT / "metrics")), read_intervals(ROOT / "plots/statistics")
    assert with_results(README, rows, intervals) == README


def test_refreshing_puts_numbers_into_their_row_alone():
    row = Headline("p2", "C", "accuracy", 0.5, 0.6, 2, 49.6)
    text = "| P2 B | other | 1.0 | 0.5 to 2.0 | 3 |\n| P2 C | BYOL start | old | old | old |\n"
    assert with_results(text, [row], {("p2", "C", "accuracy"): (0.4512, 0.5488)}) == (
        "| P2 B | other | 1.0 | 0.5 to 2.0 | 3 |\n| P2 C | BYOL start | 50.0 | 45.1 to 54.9 | 49.6 |\n"
    )


def test_refreshing_asks_for_the_row_that_the_table_lacks():
    row = Headline("p2", "F", "accuracy", 0.5, 0.6, 2, None)
    with pytest.raises(InputError, match="no row P2 F"):
        with_results("| P2 C | BYOL start | old | old | old |\n", [row], {("p2", "F", "accuracy"): (0.4, 0.6)})


def test_claims_are_the_committed_ones():
    claims = read_claims(ROOT / "plots/statistics/claims.csv")
    assert with_claims(README, claims, read_claims(ROOT / PHOTOGRAPHS)) == README


def test_refreshing_replaces_the_claims_and_nothing_else():
    text = f"before\n\n{CLAIMS}|---|---|---|---|---|\n| P1: old | it | holds | holds | holds |\n\n| after |\n"
    claim = {
        "claim": "b_above_a",
        "problem": "p3",
        "text": "B far above A",
        "reading": "B above A",
        "in_report": "untested",
        "here": "not resolved",
    }
    rows = "| P3: B far above A | B above A | untested | not resolved | holds |\n"
    replaced = with_claims(text, [claim], [claim | {"here": "holds"}])
    assert replaced == f"before\n\n{CLAIMS}|---|---|---|---|---|\n{rows}\n| after |\n"
    with pytest.raises(InputError, match="no table of claims"):
        with_claims("nothing", [claim], [claim])


def test_picture_is_of_the_committed_results():
    with Image.open(ROOT / "docs/page.png") as picture:
        assert picture.text == shown(ROOT)


def made_up_page(figures: Path) -> str:
    pictures = "".join(f'<figure><img src="{data_uri(figures / f"{name}.png")}"></figure>' for name in FIGURES)
    return f"<head></head><body><strong>50.0</strong>{pictures}</body>"


@pytest.fixture
def figures(tmp_path, monkeypatch) -> Path:
    """A folder of the pictures that are shown, in a project where one works."""
    folder = tmp_path / "plots/figures"
    folder.mkdir(parents=True)
    for number, name in enumerate(FIGURES):
        Image.new("L", (2, 2), number).save(folder / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return folder


def test_picture_shows_the_pages_own_figures(figures):
    html = extract(made_up_page(figures), [Headline("p1", "A", "accuracy", 0.5, 0.5, 1, None)])
    assert html.count('<img class="shown"') == len(FIGURES)


def test_picture_is_not_taken_of_a_page_with_an_older_figure(figures):
    page = made_up_page(figures)
    Image.new("L", (2, 2), 255).save(figures / f"{FIGURES[1]}.png")
    with pytest.raises(InputError, match="dvc repro"):
        extract(page, [])


def test_picture_is_not_taken_of_a_page_with_older_numbers(figures):
    with pytest.raises(InputError, match="dvc repro"):
        extract(made_up_page(figures), [Headline("p1", "A", "accuracy", 0.51, 0.51, 1, None)])


def test_licence_is_one_in_every_file_that_names_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License\n")
    assert (citation["license"], citation["version"]) == (project["license"], project["version"])
    assert all(author["name"] in (ROOT / "LICENSE").read_text() for author in citation["authors"])


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
