-- The schema of imagen: its history of migrations, and the pictures with their owners.

do $$
begin
    if to_regprocedure('auth.uid()') is null then
        raise exception 'this database has no function auth.uid()'
            using hint = 'imagen needs a Supabase project: look at the host and the database of the URL';
    end if;
    if (select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')) < 3 then
        raise exception 'this database lacks one of the roles anon, authenticated and service_role'
            using hint = 'imagen needs a Supabase project: look at the host of the URL';
    end if;
end
$$;

create schema if not exists imagen;
comment on schema imagen is 'Pictures made by imagen, and what belongs to them';

create table if not exists imagen.schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
comment on table imagen.schema_migrations is 'Which of imagen''s migrations this database has';
alter table imagen.schema_migrations enable row level security;

create table if not exists imagen.images (
    id uuid primary key,
    created_at timestamptz not null default now(),
    owner_user_id uuid not null,
    run_id uuid not null,
    prompt text not null,
    prompt_hash text not null,
    backend text not null,
    model text not null,
    seed bigint not null,
    steps integer,
    width integer not null,
    height integer not null,
    latency_ms bigint,
    cost_usd_estimate numeric,
    storage_path text not null,
    sha256 text not null,
    mime text not null,
    size bigint not null,
    sidecar jsonb not null,
    tags text[] not null default '{}',
    constraint images_owner_path_key unique (owner_user_id, storage_path),
    constraint images_cost_is_a_number check (cost_usd_estimate >= 0 and cost_usd_estimate < 'infinity')
);
comment on table imagen.images is 'One row a picture; its bytes are in the bucket imagen-generated at storage_path';
comment on column imagen.images.owner_user_id is 'auth.users.id of the one who may see it';
comment on column imagen.images.tags is 'the only column that its owner may change';

create index if not exists images_owner_created_idx on imagen.images (owner_user_id, created_at desc);
create index if not exists images_tags_idx on imagen.images using gin (tags);

-- Before anybody is granted anything: without a policy a table with row-level security is shut.
alter table imagen.images enable row level security;

drop policy if exists images_owner_reads on imagen.images;
create policy images_owner_reads on imagen.images
    for select to authenticated
    using (owner_user_id = (select auth.uid()));

-- That the owner changes nothing but tags is in the grants.
drop policy if exists images_owner_tags on imagen.images;
create policy images_owner_tags on imagen.images
    for update to authenticated
    using (owner_user_id = (select auth.uid()))
    with check (owner_user_id = (select auth.uid()));

notify pgrst, 'reload schema';
