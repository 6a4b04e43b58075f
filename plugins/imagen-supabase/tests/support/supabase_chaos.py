"""Workers on a shared queue that somebody kills or stops, while its answers get lost.

Run as a program it is one such worker.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

from imagen_core.testing import work
from supabase_servers import SECONDS
from supabase_storage import ProjectGateway

LEASE = 3.0
OUT_OF_REACH = 5
"""How a worker ends that finds no database when it begins."""
TROUBLES = ("kill",) * 13 + ("stop",) * 9 + ("restart",) * 2
TROUBLE_SECONDS = 0.5
"""How long nothing happens to anybody after something happened to one."""
RESOURCES = {"plain": "", "flux": "gpu", "sdxl": "gpu"}

HISTORY = """
    create table public.history (id uuid, before text, after text, running bigint);
    create or replace function public.note_history() returns trigger
    language plpgsql security definer set search_path = '' as $$
    begin
        insert into public.history select new.id, old.state, new.state,
            (select count(*) from imagen.jobs where state = 'running' and resource = 'gpu');
        return null;
    end
    $$;
    create trigger history after update of state on imagen.jobs
        for each row when (old.state <> new.state) execute function public.note_history();
    create or replace function imagen.backoff(attempt integer) returns interval
    language sql volatile set search_path = '' as $$ select interval '50 ms' $$;"""
"""Writes each state of a job down, and how many run on its resource then; and nobody waits long."""


class ForgetfulGateway(ProjectGateway):
    """Does what it is asked for, and loses its answer each time something is asked first."""

    def __init__(self, project):
        super().__init__(project)
        self.lost = Counter()
        self._known = set()

    def _answer(self, received):
        # What is uploaded has other borders between its parts each time.
        body = b"" if "/storage/" in received.path else received.body
        asked = (received.method, received.path, sha256(body).digest())
        if received.method == "POST" and asked not in self._known:
            self._known.add(asked)
            self.lost[received.path.partition("?")[0]] += 1
            self._act(received)
            return None
        return super()._answer(received)


class Storm:
    """Some workers, and what happens to them: in the seed's order, to whom by who is quick."""

    def __init__(self, database, seed, size):
        self.kills = Counter()
        """How often a job was in the hands of a worker that was killed."""
        self.stops = 0
        self._database = database
        self._dice = random.Random(seed)
        self._troubles = self._dice.sample(TROUBLES, len(TROUBLES))
        self._stopped = {}
        self._workers = [self._worker() for _ in range(size)]

    def run(self, seconds, restart):
        """Let them work until nothing is left to do; `restart` is called twice on the way."""
        end, tick = time.monotonic() + seconds, threading.Event()
        calm_until = time.monotonic() + 3
        try:
            while self._left():
                assert time.monotonic() < end, f"not done: {self._left()} jobs"
                self._look_after()
                if self._troubles and time.monotonic() > calm_until:
                    calm_until = time.monotonic() + TROUBLE_SECONDS * self._dice.uniform(0.5, 1.5)
                    if self._troubles[-1] == "restart":
                        self._troubles.pop()
                        restart()
                    elif self._befallen(self._troubles[-1]):
                        self._troubles.pop()
                tick.wait(0.05)
            while not all(map(_listens, self._workers)):
                assert time.monotonic() < end, "a worker does not begin"
                self._look_after()
                tick.wait(0.05)
            for process in self._workers:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            assert [process.wait(SECONDS) for process in self._workers] == [0] * len(self._workers)
        finally:
            for process in self._workers:
                process.kill()
                process.wait()

    def _left(self):
        query = "select count(*) from imagen.jobs where state in ('queued', 'running')"
        return self._database.run(query)[0][0]

    def _worker(self):
        return subprocess.Popen([sys.executable, __file__], stderr=subprocess.DEVNULL)

    def _look_after(self):
        for number, process in enumerate(self._workers):
            if time.monotonic() > self._stopped.get(process.pid, time.monotonic()):
                del self._stopped[process.pid]
                process.send_signal(signal.SIGCONT)
            if process.poll() is not None:
                assert process.returncode in (-signal.SIGKILL, OUT_OF_REACH)
                self._workers[number] = self._worker()

    def _befallen(self, trouble):
        """Kill one that has something in hand, or stop it; whether there was one."""
        query = "select worker, id from imagen.jobs where state = 'running'"
        busy = [(int(worker), job) for worker, job in self._database.run(query)]
        by_id = {process.pid: process for process in self._workers}
        chosen = [pid for pid, _ in busy if pid in by_id and pid not in self._stopped]
        if not chosen:
            return False
        process = by_id[self._dice.choice(chosen)]
        if trouble == "kill":
            process.kill()
            process.wait()
            left = self._database.run(query)
            self.kills.update(job for worker, job in left if worker == str(process.pid))
        else:
            process.send_signal(signal.SIGSTOP)
            self.stops += 1
            self._stopped[process.pid] = time.monotonic() + LEASE * self._dice.uniform(0.7, 2)
        return True


def _listens(process):
    """Whether it has begun so far that SIGTERM lets it end what it does."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


if __name__ == "__main__":
    work("supabase", RESOURCES, lease=LEASE, concurrency=2, pace=0.5)
