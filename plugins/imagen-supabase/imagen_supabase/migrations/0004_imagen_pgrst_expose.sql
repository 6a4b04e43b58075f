-- PostgREST serves the schemas imagen and mai, beside those that it serves already.

-- PostgREST stops working altogether if it is to serve a schema that is not there.
create schema if not exists mai;

do $$
declare
    own constant text := 'pgrst.db_schemas=';
    old text;
    new text;
    everywhere boolean;
    missing text;
begin
    if not exists (select from pg_roles where rolname = 'authenticator') then
        raise warning 'imagen: there is no role authenticator: add imagen and mai to db-schemas in PostgREST''s own file';
        return;
    end if;

    -- A setting for this database wins over one for all databases.
    select substr(setting, length(own) + 1), setdatabase = 0 into old, everywhere
    from pg_db_role_setting, unnest(setconfig) as setting
    where setrole = 'authenticator'::regrole
    and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    and starts_with(setting, own)
    order by setdatabase = 0
    limit 1;

    -- What a hosted project serves when nobody set anything.
    new := coalesce(nullif(trim(old), ''), (
        select string_agg(nspname, ', ' order by nspname desc)
        from pg_namespace where nspname in ('public', 'graphql_public')
    ));
    foreach missing in array array['imagen', 'mai'] loop
        if missing <> all (regexp_split_to_array(coalesce(new, ''), '\s*,\s*')) then
            new := concat_ws(', ', new, missing);
        end if;
    end loop;

    if new is distinct from old then
        execute format(
            'alter role authenticator %s set pgrst.db_schemas = %L',
            case when everywhere is false then format('in database %I', current_database()) end,
            new
        );
    end if;
    if old is null then
        raise warning 'imagen: the database itself had no list of schemas; if the dashboard, or PostgREST''s own file, has more than %, add them to db_schemas of the role authenticator', new;
    end if;
    raise notice 'imagen: PostgREST serves the schemas %', new;
exception when insufficient_privilege then
    raise warning 'imagen: this user may not alter the role authenticator: add imagen and mai to the exposed schemas in the dashboard';
end
$$;

notify pgrst, 'reload config';
notify pgrst, 'reload schema';
