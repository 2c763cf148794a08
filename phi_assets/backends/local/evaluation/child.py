"""Child process: evaluation_code, which ends when one of its parent processes ends."""

import runpy

from training_code.lifeline import hold_lifeline

if __name__ == "__main__":
    hold_lifeline()  # the result is of no use after the parent has ended
    runpy.run_module("evaluation_code", run_name="__main__", alter_sys=True)
