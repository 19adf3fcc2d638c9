# SPDX-License-Identifier: MIT
"""A service that appends and fsyncs numbered lines to its volume, and says which of them are there.

Line: NUMBER NODE TASK. It is acknowledged when it is in the task's own file in the directory of acknowledgements, which is on
no volume. An error is one there, too, and no reason to stop: a container does not end at the first one.
"""

import os
import re

WRITER = r"""
trap 'exit 0' TERM
says=/acks/$SERVICE.$TASK
n=$(tail -n 1 /data/lines 2>/dev/null | cut -d ' ' -f 1)
n=$((${n:-0} + 1))
while :; do
    line="$n $NODE $TASK"
    if echo "$line" | dd of=/data/lines oflag=append conv=notrunc,fsync status=none 2>/dev/null; then
        echo "$line" >>"$says"
        n=$((n + 1))
    else
        echo "error $n" >>"$says"
    fi
    usleep 20000
done
"""
WORDS = ("SERVICE={{.Service.Name}}", "NODE={{.Node.Hostname}}", "TASK={{.Task.ID}}")  # filled in by Swarm


class Acks:
    """The directory of acknowledgements."""

    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)

    def tasks(self, service):
        return [name.partition(".")[2] for name in os.listdir(self.dir) if name.startswith(service + ".")]

    def of_task(self, service, task):
        """(acknowledged lines, errors) of a task, in the order in which they came."""
        try:
            with open(f"{self.dir}/{service}.{task}", encoding="ascii") as f:
                said = f.read().split("\n")[:-1]
        except FileNotFoundError:
            return [], []
        return [line for line in said if not line.startswith("error")], [line for line in said if line.startswith("error")]

    def all(self, service):
        return [line for task in self.tasks(service) for line in self.of_task(service, task)[0]]


def problems(text, acknowledged):
    """What is wrong with the text on a volume: it must have all acknowledged lines, each number once and in order, and no line
    of a task after one of a later task."""
    lines = text.split("\n")[:-1]
    found = []
    for n, line in enumerate(lines, 1):
        if not re.fullmatch(rf"{n} \S+ \S+", line):
            return [f"line {n} of {len(lines)} is {line[:80]!r}"]
    tasks = [line.split(" ")[2] for line in lines]
    turns = [task for n, task in enumerate(tasks) if n == 0 or tasks[n - 1] != task]
    if len(turns) != len(set(turns)):
        found.append(f"a task wrote again after another had begun: {turns}")
    lost = [line for line in acknowledged if int(line.split(" ")[0]) > len(lines) or lines[int(line.split(" ")[0]) - 1] != line]
    if lost:
        found.append(f"{len(lost)} acknowledged lines are not there, the first is {lost[0]!r}")
    return found
