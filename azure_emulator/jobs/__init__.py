"""Commands of Azure ML jobs, really run, in what Azure gives a job and nothing more."""

from azure_emulator.jobs.contract import BlobPath, JobInput, JobOutput, JobRun, Status
from azure_emulator.jobs.runner import JobRunner

__all__ = ["BlobPath", "JobInput", "JobOutput", "JobRun", "JobRunner", "Status"]
