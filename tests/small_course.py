"""A whole, small archive in the course's layout, made in memory."""

import csv
import io
import zipfile

import numpy as np
from PIL import Image

from hw1.run.parameters.params import Prepare, ResizeCrop, Square

SIZES = Prepare(p1=Square(8), mini=ResizeCrop(10, 10, "bilinear"), office=ResizeCrop(18, 12, "bicubic"), p3=Square(16))


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def table(labels):
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [("id", "filename", "label"), *((index, *pair) for index, pair in enumerate(labels.items()))]
    )
    return buffer.getvalue()


def mask(height, width, corner):
    """A yellow mask (agriculture, 1) with one pixel of another colour in its upper left corner."""
    pixels = np.zeros((height, width, 3), np.uint8) + np.array([255, 255, 0], np.uint8)
    pixels[0, 0] = corner
    return encode(pixels, "PNG")


def course_members():
    """Name -> bytes of every member, below the top folder."""
    members = {}
    for folder, names in (("train_50", ("1_10", "0_2", "1_9")), ("val_50", ("1_0", "0_0"))):
        members |= {f"p1_data/{folder}/{name}.png": encode(noise(len(members), 8, 8), "PNG") for name in names}
    for name in ("b", "c", "a"):
        members[f"p2_data/mini/train/{name}.jpg"] = encode(noise(len(members), 12, 14), "JPEG")
    for folder, labels in (("train", {"t2.jpg": 0, "t1.jpg": 2, "t0.jpg": 1}), ("val", {"v1.jpg": 2, "v0.jpg": 0})):
        members[f"p2_data/office/{folder}.csv"] = table(labels)
        for name in labels:
            members[f"p2_data/office/{folder}/{name}"] = encode(noise(len(members), 21, 30), "JPEG")
    water, cyan = (0, 0, 255), (0, 255, 255)
    for tile, height, width, corner in (("train/1", 32, 32, water), ("train/0", 32, 32, cyan)):
        members[f"p3_data/{tile}_sat.jpg"] = encode(noise(len(members), height, width), "JPEG")
        members[f"p3_data/{tile}_mask.png"] = mask(height, width, corner)
    for tile, height, width, corner in (("validation/0013", 20, 24, water), ("validation/0002", 9, 5, cyan)):
        members[f"p3_data/{tile}_sat.jpg"] = encode(noise(len(members), height, width), "JPEG")
        members[f"p3_data/{tile}_mask.png"] = mask(height, width, corner)
    return members


def pack(members, path):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"hw1_data/{name}", content)
    return path
