-- Removes what workers do with the queue of jobs. The jobs stay.

drop function if exists imagen.claim, imagen.heartbeat, imagen.complete, imagen.put_aside, imagen.fail, imagen.release,
    imagen.rescue, imagen.announce, imagen.prune, imagen.free_backends, imagen.next_job, imagen.end_attempt,
    imagen.check_length, imagen.backoff;

notify pgrst, 'reload schema';
