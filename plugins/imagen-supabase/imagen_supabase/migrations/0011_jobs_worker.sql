-- The role of workers: what they need to make pictures of jobs, and nothing else.

do $$
begin
    if not exists (select from pg_roles where rolname = 'imagen_worker') then
        create role imagen_worker nologin noinherit;
    end if;
exception when insufficient_privilege then
    raise warning 'imagen: this user may not make the role imagen_worker: workers need the service key';
end
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'imagen_worker') then
        return;
    end if;

    revoke all on schema imagen, mai from imagen_worker;
    grant usage on schema imagen, mai to imagen_worker;
    revoke all on all functions in schema imagen from imagen_worker;
    grant execute on function imagen.claim, imagen.heartbeat, imagen.complete, imagen.fail, imagen.put_aside,
        imagen.release, imagen.rescue, imagen.announce, imagen.prune to imagen_worker;

    -- Rows are added, and of those that are there it is seen whose they are. Tags are the viewer's.
    revoke all on all tables in schema imagen from imagen_worker;
    grant insert (
        id, created_at, owner_user_id, run_id, prompt, prompt_hash, backend, model, seed, steps, width, height, latency_ms,
        cost_usd_estimate, storage_path, sha256, mime, size, sidecar
    ), select (id, owner_user_id, storage_path, sha256) on imagen.images to imagen_worker;
    drop policy if exists images_worker_reads on imagen.images;
    create policy images_worker_reads on imagen.images for select to imagen_worker using (true);
    drop policy if exists images_worker_adds on imagen.images;
    create policy images_worker_adds on imagen.images for insert to imagen_worker with check (true);

    revoke all on mai.imagen_usage from imagen_worker;
    grant insert (id, created_at, backend, model, seed, prompt_hash, latency_ms, cost_usd_estimate, caller),
        select (id) on mai.imagen_usage to imagen_worker;
    drop policy if exists usage_worker_reads on mai.imagen_usage;
    create policy usage_worker_reads on mai.imagen_usage for select to imagen_worker using (true);
    drop policy if exists usage_worker_adds on mai.imagen_usage;
    create policy usage_worker_adds on mai.imagen_usage for insert to imagen_worker with check (true);

    drop policy if exists imagen_worker_reads on storage.objects;
    create policy imagen_worker_reads on storage.objects for select to imagen_worker
        using (bucket_id in ('imagen-generated', 'imagen-inputs'));
    drop policy if exists imagen_worker_adds on storage.objects;
    create policy imagen_worker_adds on storage.objects for insert to imagen_worker
        with check (bucket_id = 'imagen-generated');
end
$$;

-- What is granted here and below may belong to others, who have to allow it.
do $$
begin
    if exists (select from pg_roles where rolname = 'imagen_worker') then
        grant usage on schema storage to imagen_worker;
        grant select, insert on storage.objects to imagen_worker;
        if not has_schema_privilege('imagen_worker', 'storage', 'USAGE')
            or not has_table_privilege('imagen_worker', 'storage.objects', 'SELECT')
            or not has_table_privilege('imagen_worker', 'storage.objects', 'INSERT') then
            raise insufficient_privilege;
        end if;
    end if;
exception when insufficient_privilege then
    raise warning 'imagen: this user may not let imagen_worker use Storage: workers need the service key';
end
$$;

do $$
begin
    if exists (select from pg_roles where rolname = 'imagen_worker')
        and exists (select from pg_roles where rolname = 'authenticator')
        and not pg_has_role('authenticator', 'imagen_worker', 'MEMBER') then
        grant imagen_worker to authenticator;
    end if;
exception when insufficient_privilege then
    raise warning 'imagen: this user may not grant imagen_worker to authenticator: workers need the service key';
end
$$;

notify pgrst, 'reload config';
notify pgrst, 'reload schema';
