"""Take what README.md shows from the results that are here: ``make picture``, after ``make repro``.

docs/page.png is the top of report/index.html with three of its pictures beside it, taken by Chromium without a
display. The numbers of README.md's table are those of metrics/ and plots/statistics, its claims those of
plots/statistics/claims.csv, and of docs/photographs.csv, the same table of a run on photographs. The picture carries
the SHA-256 of every file it shows, so a test knows when it is older than they are.
"""

import csv
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, PngImagePlugin

from hw1.report.page import data_uri
from hw1.report.summary import Headline, read_metrics, results
from hw1.run.errors import InputError
from hw1.run.files import sha256, whole_file
from hw1.run.processes.supervision import run_stage
from hw1.statistics.evidence import Intervals, read_intervals

PAGE, PICTURE, README = Path("report/index.html"), Path("docs/page.png"), Path("README.md")
FIGURES = ("p2_bars", "p1_tsne", "p3_masks_b")  # one of each problem
NUMBERS = ("metrics/p1.json", "metrics/p2.json", "metrics/p3.json", "plots/statistics/intervals.csv")
CLAIMS = "| the report says | as read here | by its own figures | here | on photographs |\n"  # head of README's table
PHOTOGRAPHS = Path("docs/photographs.csv")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1800, 1400  # px of the window; what is empty below is cut off
STYLE = """<style>
p { max-width: none; }
main { max-width: none; padding: 1.5rem; columns: 2; column-gap: 2rem; column-fill: auto; height: 1360px; }
nav, section > * { display: none; }
section h2 { border: 0; margin: 0; padding: 0; }
#results > :nth-child(-n+3), section > figure:has(img.shown) { display: block; }
section > figure:has(img.shown) { break-inside: avoid; margin: 0 0 1rem; }
figure img { max-height: 570px; }
</style></head>"""


def shown(root: Path) -> dict[str, str]:
    """Path -> SHA-256 of the files whose content the picture shows."""
    names = (*NUMBERS, *(f"plots/figures/{name}.png" for name in FIGURES))
    return {name: sha256(root / name) for name in names}


def extract(page: str, rows: list[Headline]) -> str:
    """The page as HTML that displays its top, its table of results and ``FIGURES`` only.

    Raises:
        InputError: the page holds other pictures or results than the project.
    """
    current = all(f"<strong>{100 * row.final:.1f}</strong>" in page for row in rows)
    for name in FIGURES:
        image = f'<img src="{data_uri(Path(f"plots/figures/{name}.png"))}"'
        current = current and image in page
        page = page.replace(image, image.replace("<img", '<img class="shown"'))
    if not current:
        raise InputError(f"{PAGE}: not of the results in metrics/ and plots/; run `dvc repro` first")
    return page.replace("</head>", STYLE, 1)


def photograph(html: str) -> Image.Image:
    """RGB picture of an HTML text in a window of ``WIDTH`` by ``HEIGHT``, without the empty rows below.

    Raises:
        InputError: there is no Chromium, or it took none.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise InputError(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(html, encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
        # Chromium's sandbox does not work for root, and the page is our own.
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [browser, *options, f"--screenshot={folder}/page.png", f"file://{folder}/page.html"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not Path(f"{folder}/page.png").is_file():
            raise InputError(f"{browser} took no picture: {(done.stderr.splitlines() or ['it says nothing'])[-1]}")
        with Image.open(f"{folder}/page.png") as image:
            picture = image.convert("RGB")
    ground = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    *_, bottom = ImageChops.difference(picture, ground).getbbox()
    return picture.crop((0, 0, picture.width, min(bottom + 24, picture.height)))


def with_results(text: str, rows: list[Headline], intervals: Intervals) -> str:
    """README's text with the numbers of these rows in its table.

    A row is ``| P1 A | what | ours | interval | the report |``, its numbers in percent.

    Raises:
        InputError: the table has no row of that name.
    """
    for row in rows:
        low, high = intervals[row.problem, row.key, row.measure]
        report = "" if row.report is None else f"{row.report:g}"
        cells = f"{100 * row.final:.1f} | {100 * low:.1f} to {100 * high:.1f} | {report}"
        text, count = re.subn(rf"(\| {row.name} \|[^|]*\| ).*( \|\n)", rf"\g<1>{cells}\2", text)
        if count != 1:
            raise InputError(f"{README}: its table has no row {row.name}; add one")
    return text


def with_claims(text: str, claims: list[dict[str, str]], photographs: list[dict[str, str]]) -> str:
    """README's text with these claims in its table, their verdicts here and on photographs.

    Raises:
        InputError: there is no such table.
    """
    words = ("text", "reading", "in_report", "here")
    verdicts = {row["claim"]: row["here"] for row in photographs}
    lines = [
        f"| {row['problem'].upper()}: {' | '.join(row[word] for word in words)} | {verdicts[row['claim']]} |\n"
        for row in claims
    ]
    replaced, count = re.subn(rf"({re.escape(CLAIMS)}\|[-|:]+\|\n)(?:\|.*\n)*", lambda m: m[1] + "".join(lines), text)
    if count != 1:
        raise InputError(f"{README}: has no table of claims; add its head, {CLAIMS.strip()}")
    return replaced


def read_claims(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    if not PAGE.is_file():
        raise InputError(f"{PAGE}: not there; run `dvc repro` first")
    rows, intervals = results(read_metrics(Path("metrics"))), read_intervals(Path("plots/statistics"))
    text = with_results(README.read_text(encoding="utf-8"), rows, intervals)
    text = with_claims(text, read_claims(Path("plots/statistics/claims.csv")), read_claims(PHOTOGRAPHS))
    picture = photograph(extract(PAGE.read_text(encoding="utf-8"), rows))
    facts = PngImagePlugin.PngInfo()
    for name, digest in shown(Path()).items():
        facts.add_text(name, digest)
    with whole_file(PICTURE) as draft:  # 256 colours are a third of the bytes
        picture.quantize(256).save(draft, format="png", optimize=True, pnginfo=facts)
    with whole_file(README) as draft:
        draft.write_text(text, encoding="utf-8")
    print(f"{PICTURE}: {picture.width} x {picture.height}, {PICTURE.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    run_stage(main)
