"""What the trained models are for: commands that predict, score and export. Started with ``-m``, they answer signals
before their imports begin.
"""

import sys

from hw1.run.supervision import answer_signals

if sys.argv[0] == "-m":  # so Python calls it until it has found the command
    answer_signals("what is not whole was not written")
