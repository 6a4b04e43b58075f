-- Takes all rights from the workers' role. The role stays: it belongs to all databases of the server.

do $$
begin
    if not exists (select from pg_roles where rolname = 'imagen_worker') then
        return;
    end if;
    if to_regnamespace('imagen') is not null then
        revoke all on all functions in schema imagen from imagen_worker;
        revoke all on all tables in schema imagen from imagen_worker;
        revoke all on schema imagen from imagen_worker;
    end if;
    if to_regclass('imagen.images') is not null then
        drop policy if exists images_worker_reads on imagen.images;
        drop policy if exists images_worker_adds on imagen.images;
    end if;
    if to_regnamespace('mai') is not null then
        revoke all on schema mai from imagen_worker;
    end if;
    if to_regclass('mai.imagen_usage') is not null then
        revoke all on mai.imagen_usage from imagen_worker;
        drop policy if exists usage_worker_reads on mai.imagen_usage;
        drop policy if exists usage_worker_adds on mai.imagen_usage;
    end if;
    if to_regclass('storage.objects') is not null then
        drop policy if exists imagen_worker_reads on storage.objects;
        drop policy if exists imagen_worker_adds on storage.objects;
        revoke all on storage.objects from imagen_worker;
        revoke all on schema storage from imagen_worker;
    end if;
exception when insufficient_privilege then
    raise warning 'imagen: this user may not take all rights from imagen_worker';
end
$$;

notify pgrst, 'reload schema';
