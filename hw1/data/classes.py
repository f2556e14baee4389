"""The seven classes of problem 3 and how a mask's colours stand for them."""

import numpy as np

LAND_COVER = ("urban", "agriculture", "rangeland", "forest", "water", "barren", "unknown")
UNKNOWN = LAND_COVER.index("unknown")

# (7, 3) uint8 RGB, the masks' colours: cyan, yellow, magenta, green, blue, white, black.
MASK_COLOURS = np.array(
    [(0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)], np.uint8
)

# Class of each colour code 4R + 2G + B (course handout): black is unknown, red (4) is no class.
NO_CLASS = 255
CLASS_OF_CODE = np.array([6, 4, 3, 0, NO_CLASS, 2, 1, 5], np.uint8)
