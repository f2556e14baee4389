"""Uses of the trained models: commands that predict, score and export. Started with ``-m``, they answer signals
and take the numerics of a params.yaml at hand before their imports begin.
"""

import contextlib
import sys

from hw1.run.errors import InputError
from hw1.run.processes.supervision import answer_signals

if sys.argv[0] == "-m":  # so Python calls it until it has found the command
    answer_signals("what is not whole was not written")
    from hw1.run.processes.numerics import settle

    with contextlib.suppress(InputError):  # weights predict without a params.yaml
        settle()
