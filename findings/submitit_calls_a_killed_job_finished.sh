#!/bin/sh
# submitit 1.5.4 says FINISHED of a local job whose process was killed, as it says of one that ended well.
#
# Guess that was wrong: the state of a job that the kernel killed (as it does for want of memory) is FAILED, so that waiting
# for FINISHED and counting the others tells what is to be done again.
# Seen: state is FINISHED and done() is True for both; a job that raised an error is FINISHED too. Only exception() or
# result() tell them apart: UncompletedJobError for the killed one, FailedJobError for the other.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet submitit==1.5.4 cloudpickle==3.1.3
cd "$place"
cat > program.py <<'PROGRAM'
import os
import signal

import submitit


def ends_well():
    return 1


def raises():
    raise ValueError("no such file")


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


executor = submitit.LocalExecutor(folder="jobs")
executor.update_parameters(timeout_min=1)
jobs = [executor.submit(function) for function in (ends_well, raises, is_killed)]
found = [(type(job.exception()).__name__, job.done(), job.state) for job in jobs]
print(found)
assert found == [
    ("NoneType", True, "FINISHED"),
    ("FailedJobError", True, "FINISHED"),
    ("UncompletedJobError", True, "FINISHED"),
], found
PROGRAM
"$place/venv/bin/python" program.py
