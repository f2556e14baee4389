"""Many trainings through DVC's queue, and what is collected from them; commands that answer signals."""

import sys

from hw1.run.processes.supervision import answer_signals

if sys.argv[0] == "-m":  # so Python calls it until it has found the command
    answer_signals("DVC's queue goes on, `dvc queue kill` ends what runs; the same command takes it up again")
