-- PostgREST serves imagen and mai no longer. The schema mai stays: others may use it.

do $$
declare
    own constant text := 'pgrst.db_schemas=';
    found record;
    rest text;
begin
    for found in
        select substr(setting, length(own) + 1) as old, setdatabase = 0 as everywhere
        from pg_db_role_setting, unnest(setconfig) as setting
        where setrole = (select oid from pg_roles where rolname = 'authenticator')
        and setdatabase in (0, (select oid from pg_database where datname = current_database()))
        and starts_with(setting, own)
    loop
        select coalesce(string_agg(name, ', ' order by place), 'public') into rest
        from unnest(regexp_split_to_array(trim(found.old), '\s*,\s*')) with ordinality as one (name, place)
        where name not in ('imagen', 'mai');
        execute format(
            'alter role authenticator %s set pgrst.db_schemas = %L',
            case when not found.everywhere then format('in database %I', current_database()) end,
            rest
        );
        raise notice 'imagen: PostgREST serves the schemas %', rest;
    end loop;
end
$$;

notify pgrst, 'reload config';
notify pgrst, 'reload schema';
