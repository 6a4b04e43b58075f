-- Removes the queue of jobs if there is nothing in it.

do $$
begin
    if to_regclass('imagen.jobs') is null then
        return;
    end if;
    if exists (select from imagen.jobs) then
        raise exception 'imagen.jobs has rows, and is not dropped'
            using hint = 'save them, empty the table, and try again';
    end if;
    drop function if exists imagen.enqueue, imagen.cancel, imagen.retry, imagen.get_job, imagen.list_jobs, imagen.stats,
        imagen.list_backends, imagen.known_backends, imagen.is_legible, imagen.as_job, imagen.iso, imagen.be_brief,
        imagen.moment;
    drop table imagen.jobs, imagen.backends, imagen.turns;
end
$$;

notify pgrst, 'reload schema';
