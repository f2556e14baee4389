"""The seven classes of problem 3, how a mask's colours stand for them, and their IoUs; NumPy alone."""

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


def ious(sums: np.ndarray) -> np.ndarray:
    """IoU of each class, NaN for one neither in truth nor prediction: sums (..., 6, 3) of its pixels in truth and
    prediction, in the truth, in the prediction -> (..., 6).
    """
    common, truth, predicted = np.moveaxis(sums, -1, 0)
    union = truth + predicted - common
    return np.divide(common, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_of(values: np.ndarray) -> np.ndarray:
    """Average the IoUs over the last axis, NaN aside: (..., 6) -> (...); 0 if all are NaN."""
    defined = ~np.isnan(values)
    return np.divide(np.nansum(values, -1), defined.sum(-1), out=np.zeros(values.shape[:-1]), where=defined.any(-1))
