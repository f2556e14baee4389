"""How cost grows with the size of the data set and of the images."""

from functools import partial

from benchmarks.byol import flops, ours
from benchmarks.machine import scale
from benchmarks.tables import Table
from benchmarks.timing import Speed, race

SMALLEST = 128  # images; of ResNet18 at 32 px


def growth(rounds: int) -> list[Table]:
    return [of_data(rounds), of_images(rounds)]


def of_data(rounds: int) -> Table:
    table = Table(
        "BYOL epoch over the number of images, ResNet18 at 32 px, batches of 64",
        ("", "images", "images/s", "seconds an epoch", "seconds / the first's"),
    )
    counts = {f"x{factor}": SMALLEST * factor for factor in (1, 4, 16)}
    speeds = race({name: partial(ours, "resnet18", 32, count, 64) for name, count in counts.items()}, rounds)
    for name, count in counts.items():
        seconds = count / speeds[name].median
        times = seconds * speeds["x1"].median / SMALLEST
        table.add(name, count, f"{speeds[name].median:.0f}", f"{seconds:.2f}", f"{times:.2f}")
    return table


def of_images(rounds: int) -> Table:
    batch = scale().byol_batch
    table = Table(
        f"BYOL epoch over the side of the images, ResNet50, batches of {batch}",
        ("", "GFLOP an image", "images/s", "GFLOP/s", "time an image / the first's"),
    )
    sides = {f"{side} px": side for side in (64, 128, 224)}
    speeds = race({name: partial(ours, "resnet50", side, 2 * batch, batch) for name, side in sides.items()}, rounds)
    first: Speed = speeds["64 px"]
    for name, side in sides.items():
        work, rate = flops("resnet50", side) / 1e9, speeds[name].median
        table.add(name, f"{work:.1f}", f"{rate:.2f}", f"{work * rate:,.0f}", f"{first.median / rate:.2f}")
    return table
