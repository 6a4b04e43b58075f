"""What the catalog of a database says of our schemas: all of it, and what is open to whom."""

SCHEMAS = ("imagen", "mai")
"""Everything in these is ours, or is to be looked at as if it were."""
VISITORS = ("anon", "authenticated")
IN_OURS = "join pg_namespace n on n.nspname = any (array['imagen', 'mai']) and n.oid ="
SEEN = {
    "schemas": """
        select nspname, obj_description(oid, 'pg_namespace') from pg_namespace
        where nspname in ('imagen', 'mai')""",
    "relations": f"""
        select relname, relkind, relrowsecurity, relforcerowsecurity, reloptions,
            obj_description(c.oid, 'pg_class')
        from pg_class c {IN_OURS} relnamespace""",
    "columns": f"""
        select relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
            pg_get_expr(adbin, adrelid), col_description(c.oid, attnum)
        from pg_class c {IN_OURS} relnamespace
        join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped
        left join pg_attrdef d on adrelid = c.oid and adnum = attnum""",
    "constraints": f"""
        select conname, contype, conrelid::regclass::text, pg_get_constraintdef(c.oid)
        from pg_constraint c {IN_OURS} connamespace""",
    "indexes": f"""
        select pg_get_indexdef(indexrelid) from pg_index
        join pg_class c on c.oid = indrelid {IN_OURS} relnamespace""",
    "policies": """
        select schemaname, tablename, policyname, permissive, roles::text[], cmd, qual, with_check
        from pg_policies where schemaname in ('imagen', 'mai', 'storage')""",
    "functions": f"""
        select p.oid::regprocedure::text, pg_get_functiondef(p.oid)
        from pg_proc p {IN_OURS} pronamespace where prokind in ('f', 'p')""",
    "triggers": f"""
        select pg_get_triggerdef(t.oid) from pg_trigger t
        join pg_class c on c.oid = tgrelid {IN_OURS} relnamespace where not tgisinternal""",
    "rights": f"""
        select 'schema', nspname, grantee::regrole::text, privilege_type
        from pg_namespace, aclexplode(nspacl) where nspname in ('imagen', 'mai')
        union all
        select 'relation', relname, grantee::regrole::text, privilege_type
        from pg_class c {IN_OURS} relnamespace, aclexplode(relacl)
        union all
        select 'column', relname || '.' || attname, grantee::regrole::text, privilege_type
        from pg_class c {IN_OURS} relnamespace
        join pg_attribute on attrelid = c.oid, aclexplode(attacl)
        union all
        select 'function', p.oid::regprocedure::text, grantee::regrole::text, privilege_type
        from pg_proc p {IN_OURS} pronamespace,
            aclexplode(coalesce(proacl, acldefault('f', proowner)))
        union all
        select 'default', defaclobjtype::text, grantee::regrole::text, privilege_type
        from pg_default_acl a {IN_OURS} defaclnamespace, aclexplode(defaclacl)""",
    "buckets": "select id, name, public, file_size_limit, allowed_mime_types from storage.buckets",
    "settings": """
        select setdatabase = 0, setting from pg_db_role_setting, unnest(setconfig) as setting
        where setrole = 'authenticator'::regrole
        and setdatabase in (0, (select oid from pg_database where datname = current_database()))""",
}
"""Queries by what they show."""

OPEN = f"""
    with relations as (
        select c.oid, nspname, relname, relkind from pg_class c {IN_OURS} relnamespace
        where relkind in ('r', 'p', 'v', 'm', 'f')
    ), sequences as (
        select c.oid, nspname, relname from pg_class c {IN_OURS} relnamespace where relkind = 'S'
    )
    select 'schema', p, nspname::text from pg_namespace, unnest(array['USAGE', 'CREATE']) p
    where nspname = any (array['imagen', 'mai']) and has_schema_privilege(%(role)s, oid, p)
    union all
    select 'column', p, format('%%s.%%s.%%s', nspname, relname, attname)
    from relations c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped,
        unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
    where has_column_privilege(%(role)s, c.oid, attnum, p)
    union all
    select 'table', p, format('%%s.%%s', nspname, relname)
    from relations c, unnest(array['DELETE', 'TRUNCATE', 'TRIGGER']) p
    where has_table_privilege(%(role)s, c.oid, p)
    union all
    select 'sequence', p, format('%%s.%%s', nspname, relname)
    from sequences c, unnest(array['USAGE', 'SELECT', 'UPDATE']) p
    where has_sequence_privilege(%(role)s, c.oid, p)
    union all
    select 'function', 'EXECUTE', p.oid::regprocedure::text
    from pg_proc p {IN_OURS} pronamespace where has_function_privilege(%(role)s, p.oid, 'EXECUTE')
    order by 1, 2, 3"""
"""Whatever a role may do in our schemas, also by way of PUBLIC."""

UNGUARDED = f"""
    select 'row-level security is off', format('%s.%s', nspname, relname)
    from pg_class c {IN_OURS} relnamespace where relkind in ('r', 'p') and not relrowsecurity
    union all
    select 'view that acts as its owner', format('%s.%s', nspname, relname)
    from pg_class c {IN_OURS} relnamespace where relkind in ('v', 'm')
    and not coalesce(reloptions && array['security_invoker=true', 'security_invoker=on'], false)
    union all
    select 'function without a fixed search_path', p.oid::regprocedure::text
    from pg_proc p {IN_OURS} pronamespace
    where not coalesce(proconfig && array['search_path=pg_catalog, pg_temp'], false)
    and not (not prosecdef and coalesce(proconfig && array['search_path=""'], false))
    union all
    select 'security definer function', p.oid::regprocedure::text
    from pg_proc p {IN_OURS} pronamespace where prosecdef
    order by 1, 2"""
"""What would get round the rights of whoever asks."""


def seen(database):
    """All of it, comparable; nothing of it tells when or in which order it was made."""
    with database.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(query).fetchall()))
            for name, query in SEEN.items()
        }


def openings(database, role):
    """What a role may do in our schemas, as sentences."""
    with database.connect() as connection:
        rows = connection.execute(OPEN, {"role": role}).fetchall()
    return [" ".join(row) for row in rows]


def unguarded(database):
    return [": ".join(row) for row in database.run(UNGUARDED)]


def tables(database):
    """Schema, name and columns of every table and view that PostgREST could serve."""
    query = f"""
        select nspname, relname, array_agg(attname::text order by attnum)
        from pg_class c {IN_OURS} relnamespace
        join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped
        where relkind in ('r', 'p', 'v', 'm', 'f') group by 1, 2 order by 1, 2"""
    return database.run(query)


def functions(database):
    """Schema, name and names of the arguments of every function in our schemas."""
    query = f"""
        select nspname, proname, coalesce(proargnames, '{{}}'::text[])
        from pg_proc p {IN_OURS} pronamespace order by 1, 2"""
    return database.run(query)
