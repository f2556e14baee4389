"""What the pipeline would take from what people bring: ``python -m hw1.inspect PATH``, in seconds, without a run.

- :mod:`hw1.inspect.layout`: an archive, or a folder in the course's layout
- :mod:`hw1.inspect.single`: a csv, a folder of pictures, or a file of weights
"""

import sys

from hw1.run.processes.supervision import answer_signals

if sys.argv[0] == "-m":  # so Python calls it until it has found the command
    answer_signals("nothing was written")
