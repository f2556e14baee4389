"""Pickles of plain containers and NumPy arrays, read without running what else they may hold."""

import codecs
import pickle
from typing import IO, Any

import numpy as np

from hw1.run.errors import InputError

# What NumPy's arrays are made of in pickles of its versions 1 and 2, and Python 2's bytes; none of them runs code.
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("_codecs", "encode"): codecs.encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return ALLOWED[module, name]


def load_plain(file: IO[bytes], what: str) -> dict[str, Any]:
    """The dict in a pickle, also one of Python 2, whose text becomes str.

    Raises:
        InputError: damaged, no dict, or something else than containers, numbers, text and arrays in it.
    """
    try:
        table = _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # unpickling damaged bytes raises whatever it meets
        raise InputError(f"{what}: not a pickle of plain arrays ({error}); it was not loaded") from None
    if not isinstance(table, dict):
        raise InputError(f"{what}: a pickle of {type(table).__name__}, not of the data set's dict")
    return table
