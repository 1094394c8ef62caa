"""Long operations as processes of their own, with an event log, typed commands and a result file.

job = start(workspace.private / "jobs", request)     # a new process; closing the terminal does not end it
result = follow(job, report)                         # its first listener; others may attach
send(job, "stop")                                    # from anywhere that may read the workspace
"""

from understudy.jobs.control import send
from understudy.jobs.folder import Job, JobResult, JobState, Request, find, jobs_in, running_in
from understudy.jobs.launch import follow, kill, request_stop, start, wait

__all__ = [
    "Job",
    "JobResult",
    "JobState",
    "Request",
    "find",
    "follow",
    "jobs_in",
    "kill",
    "request_stop",
    "running_in",
    "send",
    "start",
    "wait",
]
