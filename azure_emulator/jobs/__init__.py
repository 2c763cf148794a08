"""Runs the commands of Azure ML jobs as processes, in the environment that Azure gives a job."""

from azure_emulator.jobs.contract import BlobPath, JobInput, JobOutput, JobRun, Status
from azure_emulator.jobs.runner import JobRunner

__all__ = ["BlobPath", "JobInput", "JobOutput", "JobRun", "JobRunner", "Status"]
