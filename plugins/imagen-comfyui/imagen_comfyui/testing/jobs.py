"""The view of runs as jobs, which new servers have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen_comfyui.testing import views
from imagen_comfyui.testing.schema import JSON
from imagen_core.testing import Received, Reply, reply_json

if TYPE_CHECKING:
    from imagen_comfyui.testing.engine import Engine, Run
    from imagen_comfyui.testing.site import Site


class Jobs:
    """What `/api/jobs` and below reply."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site = site
        self.engine = engine

    def index(self, received: Received) -> Reply:
        """Lists all runs, the newest first."""
        query = received.query
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 0)) or None
        wanted = query["status"].split(",") if query.get("status") else []
        with self.site.lock:
            runs = [*self._live, *self.engine.ended.values()]
            jobs = [self._summary(run) for run in sorted(runs, key=lambda one: -one.number)]
        jobs = [job for job in jobs if not wanted or job["status"] in wanted]
        page = jobs[offset : offset + limit if limit else None]
        more = offset + len(page) < len(jobs)
        pagination = {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more}
        return reply_json({"jobs": page, "pagination": pagination})

    def show(self, _: Received, prompt_id: str) -> Reply:
        """Shows a run."""
        with self.site.lock:
            for run in self._live:
                if run.prompt_id == prompt_id:
                    return reply_json(self._summary(run))
            if ended := self.engine.look(prompt_id):
                return reply_json(views.ended_job(ended, self.site.script))
        return reply_json({"error": "Job not found"}, 404)

    def cancel(self, _: Received, prompt_id: str) -> Reply:
        """Takes a run out of the queue, or interrupts it."""
        with self.site.lock:
            waited = self.engine.delete([prompt_id])
            ran = self.engine.interrupt(prompt_id)
            log = self.site.log
            (log.interrupts if ran else log.deletes).append(prompt_id)
        return reply_json({"cancelled": waited or ran})

    @property
    def _live(self) -> list[Run]:
        running = self.engine.running
        return [*self.engine.pending, *([running] if running else [])]

    def _summary(self, run: Run) -> JSON:
        status = "in_progress" if run is self.engine.running else "pending"
        return views.job(run, status) if run in self._live else views.ended_summary(run)
