"""Child process: a module of the project, which ends when one of its parent processes ends."""

import runpy
import sys

from training_code.lifeline import hold_lifeline

if __name__ == "__main__":
    hold_lifeline()  # the result is of no use after the parent has ended
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
