-- Takes back what signed-in users may do with the queue. The bucket stays, since it may have images in it.

do $$
begin
    if to_regclass('imagen.jobs') is not null then
        drop policy if exists jobs_owner_reads on imagen.jobs;
        drop policy if exists backends_are_seen on imagen.backends;
        revoke all on imagen.jobs, imagen.backends from authenticated;
    end if;
    if to_regclass('storage.objects') is not null then
        drop policy if exists imagen_inputs_owner_reads on storage.objects;
        drop policy if exists imagen_inputs_owner_adds on storage.objects;
    end if;
end
$$;

drop function if exists imagen.request_picture, imagen.cancel_mine, imagen.check_limits, imagen.daily_job_limit,
    imagen.job_limit;

notify pgrst, 'reload schema';
