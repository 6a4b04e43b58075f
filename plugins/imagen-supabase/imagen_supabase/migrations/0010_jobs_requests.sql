-- What signed-in users may do with the queue: ask for pictures, see what became of that, and cancel it.

create or replace function imagen.job_limit() returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 100
$$;
comment on function imagen.job_limit() is 'How many jobs of one user may wait or run at once';

create or replace function imagen.daily_job_limit() returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 1000
$$;
comment on function imagen.daily_job_limit() is 'How many jobs one user may ask for within a day, also if they are cancelled';

create or replace function imagen.check_limits(owner uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    waiting integer;
    latest timestamptz;
begin
    select count(*) into waiting from (
        select from imagen.jobs j where j.owner_user_id = owner and j.state in ('queued', 'running')
        limit imagen.job_limit()
    ) open;
    if waiting >= imagen.job_limit() then
        raise exception 'over % jobs of yours wait or run', imagen.job_limit()
            using errcode = 'PT429', hint = 'wait for one of them, or cancel it';
    end if;
    select j.created_at into latest from imagen.jobs j where j.owner_user_id = owner
    order by j.seq desc offset imagen.daily_job_limit() - 1 limit 1;
    if latest > imagen.moment() - interval '1 day' then
        raise exception 'you have asked for over % jobs within a day', imagen.daily_job_limit()
            using errcode = 'PT429', hint = 'ask again tomorrow';
    end if;
end
$$;
comment on function imagen.check_limits(uuid) is 'Refuses one more job of somebody who has too many';

create or replace function imagen.request_picture(
    backend text,
    payload jsonb,
    key text default '',
    id uuid default gen_random_uuid(),
    payload_version integer default 1,
    priority integer default 5,
    delay double precision default 0
) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    owner constant uuid := auth.uid();
    wanted constant uuid := coalesce(request_picture.id, gen_random_uuid());
    made jsonb;
begin
    if owner is null then
        raise exception 'nobody is signed in' using errcode = 'insufficient_privilege';
    end if;
    if not coalesce(length(request_picture.backend) between 1 and 100, false) then
        raise exception 'the backend has no name, or one of over 100 characters' using errcode = 'PT400';
    end if;
    if not coalesce(jsonb_typeof(request_picture.payload) = 'object'
        and octet_length(request_picture.payload::text) <= 65536, false) then
        raise exception 'the payload is no object, or has over 64 KiB' using errcode = 'PT400';
    end if;
    if not coalesce(length(request_picture.key) <= 200 and request_picture.payload_version > 0
        and request_picture.priority between 5 and 9
        and request_picture.delay between 0 and 30 * 86400, false) then
        raise exception 'a key has up to 200 characters, a priority is 5 to 9, a delay up to 30 days'
            using errcode = 'PT400';
    end if;
    -- One request of a user at a time: only so is the limit exact.
    perform pg_advisory_xact_lock(73105, hashtext(owner::text));
    if not exists (select from imagen.jobs j where j.id = wanted)
        and not exists (select from imagen.jobs j where j.whose = owner and j.key = nullif(request_picture.key, '')) then
        perform imagen.check_limits(owner);
    end if;
    made := imagen.enqueue(
        wanted, request_picture.backend, request_picture.payload, request_picture.payload_version, owner,
        request_picture.key, request_picture.priority, request_picture.delay
    );
    if made is null then
        raise exception 'this id is that of another job' using errcode = 'PT409';
    end if;
    return made;
end
$$;
comment on function imagen.request_picture is 'Asks for a picture: the id of the job, and whether it was not there before. Repeated with the same id or key it is the same job';

create or replace function imagen.cancel_mine(id uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from imagen.jobs j where j.id = cancel_mine.id and j.owner_user_id = (select auth.uid())) then
        return imagen.cancel(cancel_mine.id);
    end if;
    return 'gone';
end
$$;
comment on function imagen.cancel_mine(uuid) is 'Cancels a job of one''s own that waits, and asks for that if it runs: cancelled, requested, what it is, or gone';

revoke all on function imagen.job_limit, imagen.daily_job_limit, imagen.check_limits, imagen.request_picture,
    imagen.cancel_mine
    from public, anon, authenticated, service_role;
grant execute on function imagen.request_picture, imagen.cancel_mine to authenticated;

-- Whoever knows the token holds the job: it is nobody's to see.
revoke all on imagen.jobs, imagen.backends, imagen.turns from authenticated;
grant select (
    seq, id, owner_user_id, key, backend, payload, payload_version, state, priority, run_at, attempt, max_attempts, crashes,
    worker, resource, lease_expires_at, deadline_at, cancel_requested, progress, checkpoint, result, errors, created_at,
    started_at, finished_at
) on imagen.jobs to authenticated;
grant select on imagen.backends to authenticated;

drop policy if exists jobs_owner_reads on imagen.jobs;
create policy jobs_owner_reads on imagen.jobs
    for select to authenticated
    using (owner_user_id = (select auth.uid()));

drop policy if exists backends_are_seen on imagen.backends;
create policy backends_are_seen on imagen.backends
    for select to authenticated
    using (true);

-- Input images: each lies under its sha256, in the folder of its owner. A bucket that is there keeps its limits.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values ('imagen-inputs', 'imagen-inputs', false, 52428800, '{image/png,image/jpeg,image/webp}')
on conflict (id) do update set public = false where buckets.public;

drop policy if exists imagen_inputs_owner_reads on storage.objects;
create policy imagen_inputs_owner_reads on storage.objects
    for select to authenticated
    using (bucket_id = 'imagen-inputs' and split_part(name, '/', 1) = (select auth.uid())::text);

drop policy if exists imagen_inputs_owner_adds on storage.objects;
create policy imagen_inputs_owner_adds on storage.objects
    for insert to authenticated
    with check (
        bucket_id = 'imagen-inputs'
        and split_part(name, '/', 1) = (select auth.uid())::text
        and split_part(name, '/', 2) ~ '^[0-9a-f]{64}$'
        and split_part(name, '/', 3) = ''
    );

notify pgrst, 'reload schema';
