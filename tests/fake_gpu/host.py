"""Starts Python programs on the fake GPU without importing torch anew for each: it forks.

A line of JSON on stdin is a list of programs to run side by side, each {"module": ..., "arguments": [...],
"folder": ..., "environment": {...}, "out": file, "err": file}. It answers with a line of their process numbers, and
when all have ended with a line of their statuses (negative: the signal). A program sees a fresh process: its own
environment, folder, streams and end, with torch and scikit-learn imported and CUDA not begun.
"""

import json
import os
import runpy
import sys

import torch  # noqa: F401
import torchvision  # noqa: F401


def serve() -> dict:
    """In the host: run what is asked until stdin ends. In each process it forks: the program to become."""
    for line in sys.stdin:
        processes = []
        for program in json.loads(line):
            process = os.fork()
            if not process:
                return program
            processes.append(process)
        print(json.dumps(processes), flush=True)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        print(json.dumps(statuses), flush=True)
    return {}


def become(program: dict) -> None:
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(program[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(program["folder"])
    os.environ |= program["environment"]
    sys.path.insert(0, program["folder"])
    sys.argv = ["-m", *program["arguments"]]  # as Python calls it until it has found the module
    runpy.run_module(program["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    asked = serve()
    if asked:
        become(asked)
