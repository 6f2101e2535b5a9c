"""One work at one contender that is up: the load generator runs, and this is its answer."""

import json
import os
import pathlib
import subprocess
import sys
import time

STEP_WITHIN = 180.0  # seconds; a server that takes longer for a step of ten has fallen behind


def say(text):
    """For whoever waits."""
    print(f"run: {text}", file=sys.stderr, flush=True)


def put_first(processes, crowd):
    """Lets all threads of these processes come before those whose names begin as the crowd's do.

    Needs CAP_SYS_NICE; without it the figure is what it is without this, and it says so.
    """
    time.sleep(1.0)  # until the generator has its threads
    tasks = [pathlib.Path(f"/proc/{pid}/task") for pid in processes]
    for thread in (thread for task in tasks for thread in task.iterdir()):
        if not (thread / "comm").read_text().startswith(crowd):
            try:
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(5))
            except PermissionError:
                return say("no thread can be put first here: CAP_SYS_NICE is missing")


def unanswered(contender, work, why):
    """Stands for an answer that did not come."""
    say(f"{contender.key}, {work.key}: {why}")
    return {"answered": False, "sound": False, "failures": [why]}


def told(contender, work, answer):
    """Says what came of a step by its first figure, and hands the answer on."""
    figure = work.figures[0]
    value = figure.of(answer)
    say(
        f"{contender.key:24} {work.key:20} "
        + (f"{value:10.3f} {figure.unit}" if value is not None else "no figure")
        + ("" if answer.get("sound") else "  NOT SOUND: " + json.dumps(answer.get("failures")))
    )
    return answer


def step(generator, contender, work, core, quick):
    """The generator's answer, or in its place only why there is none; the generator has `core`."""
    command = ["taskset", "-c", core, str(generator), "bench", *work.command(quick)]
    own = work.own_channels or work.own_paths
    command += [*contender.load(work.transport, own), "--threads", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        if work.crowd:
            put_first({contender.pid, run.pid}, work.crowd)
        try:
            out, err = run.communicate(timeout=STEP_WITHIN)
        except subprocess.TimeoutExpired:
            run.kill()
            return unanswered(contender, work, f"not ended after {STEP_WITHIN:.0f} s")
    try:
        answer = json.loads(out.strip().rpartition("\n")[2])
    except json.JSONDecodeError:
        return unanswered(contender, work, f"exit {run.returncode}: {err.strip()[-300:]}")
    return told(contender, work, answer)
