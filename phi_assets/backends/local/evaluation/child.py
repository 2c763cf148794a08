"""Child process: evaluation_code, which ends when one of the processes that it works for has ended."""

import runpy

from training_code.lifeline import hold_lifeline

if __name__ == "__main__":
    hold_lifeline()  # nobody wants the result once the process that asked for it has ended
    runpy.run_module("evaluation_code", run_name="__main__", alter_sys=True)
