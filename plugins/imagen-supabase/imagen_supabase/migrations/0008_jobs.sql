-- The queue of jobs: its tables, and what people do with it.

create table if not exists imagen.jobs (
    seq bigint generated always as identity unique,
    id uuid primary key,
    owner_user_id uuid,
    whose uuid not null generated always as (coalesce(owner_user_id, '00000000-0000-0000-0000-000000000000')) stored,
    key text,
    backend text not null check (backend <> ''),
    payload jsonb not null check (jsonb_typeof(payload) = 'object'),
    payload_version integer not null,
    state text not null default 'queued'
        check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    priority smallint not null check (priority between 0 and 9),
    run_at timestamptz not null,
    attempt integer not null default 0 check (attempt >= 0),
    max_attempts integer not null check (max_attempts between 1 and 20),
    crashes integer not null default 0,
    worker text not null default '',
    resource text not null default '',
    lease_token uuid,
    lease_expires_at timestamptz,
    deadline_at timestamptz,
    cancel_requested boolean not null default false,
    progress jsonb,
    checkpoint jsonb not null default '{}',
    result jsonb,
    errors jsonb not null default '[]',
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    constraint jobs_that_run_are_held check ((state = 'running') = (lease_expires_at is not null)),
    constraint jobs_that_ended_say_when
        check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
comment on table imagen.jobs is 'Pictures that were asked for, one row a job; only the functions of this schema change it';
comment on column imagen.jobs.owner_user_id is 'auth.users.id of the one who may see it; null: nobody''s';
comment on column imagen.jobs.whose is 'the same, and never null: what turns and keys go by';
comment on column imagen.jobs.lease_token is 'whoever knows it holds the job; it stays until the next claim';

-- What a heartbeat changes is in no index: so it moves no row, and the table stays small.
create unique index if not exists jobs_key_idx on imagen.jobs (whose, key) where key is not null;
create index if not exists jobs_waiting_idx on imagen.jobs (backend, priority, whose, run_at, seq)
    where state = 'queued';
create index if not exists jobs_running_idx on imagen.jobs (resource) where state = 'running';
create unique index if not exists jobs_token_idx on imagen.jobs (lease_token) where lease_token is not null;
create index if not exists jobs_finished_idx on imagen.jobs (state, finished_at) where finished_at is not null;
create index if not exists jobs_owner_idx on imagen.jobs (owner_user_id, seq desc);
create index if not exists jobs_open_idx on imagen.jobs (owner_user_id) where state in ('queued', 'running');
create index if not exists jobs_state_idx on imagen.jobs (backend, state, seq);
alter table imagen.jobs enable row level security;

create table if not exists imagen.backends (
    backend text not null check (backend <> ''),
    resource text not null default '',
    max_running integer not null check (max_running > 0),
    worker text not null,
    about jsonb not null check (jsonb_typeof(about) = 'object'),
    seen_at timestamptz not null,
    primary key (backend, resource)
);
comment on table imagen.backends is 'What workers serve, and when they last said so';
alter table imagen.backends enable row level security;

create table if not exists imagen.turns (
    whose uuid primary key,
    served_at timestamptz not null
) with (fillfactor = 70);
comment on table imagen.turns is 'When each owner was served last; nobody is all zeros';
alter table imagen.turns enable row level security;

-- Functions in SQL that are not inlined are planned anew at each call; those in PL/pgSQL once a session.
create or replace function imagen.moment() returns timestamptz
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    return clock_timestamp();
end
$$;
comment on function imagen.moment() is 'The time by which the queue goes: of the call, not of the transaction, which may have waited';

create or replace function imagen.be_brief() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('idle_in_transaction_session_timeout', '5s', true);
end
$$;
comment on function imagen.be_brief() is 'Cuts off whoever gets stuck in this transaction, so that nobody waits for long for what it holds';

create or replace function imagen.iso(moment timestamptz) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return to_char(iso.moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"');
end
$$;

create or replace function imagen.as_job(job imagen.jobs) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return jsonb_build_object(
        'id', job.id,
        'owner', coalesce(job.owner_user_id::text, ''),
        'key', coalesce(job.key, ''),
        'backend', job.backend,
        'payload', job.payload,
        'payload_version', job.payload_version,
        'state', job.state,
        'priority', job.priority,
        'attempt', job.attempt,
        'max_attempts', job.max_attempts,
        'crashes', job.crashes,
        'worker', job.worker,
        'resource', job.resource,
        'created_at', imagen.iso(job.created_at),
        'run_at', imagen.iso(job.run_at),
        'started_at', imagen.iso(job.started_at),
        'finished_at', imagen.iso(job.finished_at),
        'lease_expires_at', imagen.iso(job.lease_expires_at),
        'deadline_at', imagen.iso(job.deadline_at),
        'cancel_requested', job.cancel_requested,
        'progress', job.progress,
        'checkpoint', job.checkpoint,
        'result', job.result,
        'errors', job.errors
    );
end
$$;
comment on function imagen.as_job(imagen.jobs) is 'A row as imagen''s Job; without what only its worker knows';

create or replace function imagen.is_legible(given jsonb) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    return not (given @? '$.**{33}' or given @? '$.** ? (@ > 1e300 || @ < -1e300)');
end
$$;
comment on function imagen.is_legible(jsonb) is 'Whether any program can read it: it is not too deep, and has no number of thousands of digits';

create or replace function imagen.enqueue(
    id uuid,
    backend text,
    payload jsonb,
    payload_version integer default 1,
    owner uuid default null,
    key text default '',
    priority integer default 5,
    delay double precision default 0,
    max_attempts integer default 3
) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    at timestamptz := imagen.moment();
    known imagen.jobs;
begin
    -- One that no worker can read would stop them all.
    if not imagen.is_legible(enqueue.payload) then
        raise exception 'the payload has over 32 levels, or a number of over 300 digits' using errcode = 'PT400';
    end if;
    for attempt in 1..10 loop
        insert into imagen.jobs (
            id, owner_user_id, key, backend, payload, payload_version, priority, run_at, max_attempts, created_at
        ) values (
            enqueue.id, enqueue.owner, nullif(enqueue.key, ''), enqueue.backend, enqueue.payload,
            enqueue.payload_version, enqueue.priority, at + make_interval(secs => enqueue.delay),
            enqueue.max_attempts, at
        ) on conflict do nothing;
        if found then
            return jsonb_build_object('id', enqueue.id, 'created', true);
        end if;
        select * into known from imagen.jobs j
        where j.key = nullif(enqueue.key, '')
        and j.whose = coalesce(enqueue.owner, '00000000-0000-0000-0000-000000000000');
        if known.id is null then
            select * into known from imagen.jobs j where j.id = enqueue.id;
        end if;
        if known.id is not null then
            return case when known.owner_user_id is not distinct from enqueue.owner
                then jsonb_build_object('id', known.id, 'created', false) end;
        end if;
        -- What was in the way is gone.
    end loop;
    raise exception 'a job of this id comes and goes' using errcode = 'serialization_failure';
end
$$;
comment on function imagen.enqueue is 'Puts a job there, unless there is one of this id, or of this owner and key; null: the id is that of another owner''s';

create or replace function imagen.cancel(job uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    known imagen.jobs;
begin
    perform imagen.be_brief();
    select * into known from imagen.jobs j where j.id = job for update;
    if known.state = 'running' then
        update imagen.jobs set cancel_requested = true where seq = known.seq and not cancel_requested;
        return 'requested';
    end if;
    if known.state = 'queued' then
        update imagen.jobs set state = 'cancelled', finished_at = imagen.moment() where seq = known.seq;
        return 'cancelled';
    end if;
    return coalesce(known.state, 'gone');
end
$$;
comment on function imagen.cancel(uuid) is 'Cancels a job that waits, and asks for that if it runs: cancelled, requested, what it is, or gone';

create or replace function imagen.retry(job uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    told text;
begin
    update imagen.jobs j set
        state = 'queued', run_at = imagen.moment(), attempt = 0, crashes = 0, finished_at = null, cancel_requested = false
    where j.id = job and j.state in ('failed', 'cancelled');
    select j.state into told from imagen.jobs j where j.id = job;
    return coalesce(told, 'gone');
end
$$;
comment on function imagen.retry(uuid) is 'Queues a job that failed or was cancelled, with all its attempts anew: what it is now, or gone';

create or replace function imagen.get_job(job uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select imagen.as_job(j) from imagen.jobs j where j.id = get_job.job
$$;

create or replace function imagen.known_backends() returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    -- Each is found by one step in an index, however many jobs there are.
    return query with recursive known (backend) as (
        select min(j.backend) from imagen.jobs j
        union all
        select (select min(j.backend) from imagen.jobs j where j.backend > known.backend)
        from known where known.backend is not null
    ) select known.backend from known where known.backend is not null;
end
$$;
comment on function imagen.known_backends() is 'The backends that jobs name';

create or replace function imagen.list_jobs(
    states text[] default '{}',
    whose uuid default null,
    backend text default '',
    before uuid default null,
    at_most integer default 50
) returns jsonb
language plpgsql stable security definer
-- Planned for what is asked: so each question finds its index.
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
    nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    last_seq bigint := 9223372036854775807;
    chosen bigint[];
begin
    if list_jobs.before is not null then
        select seq into last_seq from imagen.jobs where id = list_jobs.before;
    end if;
    if list_jobs.whose is not null or (list_jobs.states = '{}' and list_jobs.backend = '') then
        chosen := array(
            select seq from imagen.jobs
            where (list_jobs.whose is null or (list_jobs.whose = nobody and owner_user_id is null)
                or (list_jobs.whose <> nobody and owner_user_id = list_jobs.whose))
            and (list_jobs.states = '{}' or state = any (list_jobs.states))
            and (list_jobs.backend = '' or backend = list_jobs.backend)
            and seq < last_seq
            order by seq desc limit list_jobs.at_most
        );
    else
        chosen := array(
            select one.seq from unnest(case when list_jobs.backend = ''
                then array(select imagen.known_backends()) else array[list_jobs.backend] end) as named (backend)
            cross join (select distinct unnest(case when list_jobs.states = '{}'
                then '{queued,running,succeeded,failed,cancelled}' else list_jobs.states end)) as wanted (state)
            cross join lateral (
                select j.seq from imagen.jobs j
                -- Written so that only one index gives the order.
                where (j.backend, j.state, j.seq) >= (named.backend, wanted.state, 0)
                and (j.backend, j.state, j.seq) < (named.backend, wanted.state, last_seq)
                order by j.backend desc, j.state desc, j.seq desc limit list_jobs.at_most
            ) one
            order by one.seq desc limit list_jobs.at_most
        );
    end if;
    return (
        select coalesce(jsonb_agg(imagen.as_job(j) order by j.seq desc), '[]') from imagen.jobs j where j.seq = any (chosen)
    );
end
$$;
comment on function imagen.list_jobs is 'Jobs, the latest first, older than that of the id "before"; nobody''s are whose all zeros';

create or replace function imagen.stats() returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    at timestamptz := imagen.moment();
begin
    -- Both halves are counted in an index, since a million jobs that ended take a gigabyte.
    return (
        select coalesce(jsonb_agg(to_jsonb(load) order by load.backend), '[]') from (
            select
                ended.backend,
                coalesce(waiting.ready, 0) as ready,
                coalesce(waiting.delayed, 0) as delayed,
                ended.running,
                ended.succeeded,
                ended.failed,
                ended.cancelled,
                coalesce(extract(epoch from at - waiting.since), 0) as waiting_seconds
            from (
                select
                    j.backend,
                    count(*) filter (where j.state = 'running') as running,
                    count(*) filter (where j.state = 'succeeded') as succeeded,
                    count(*) filter (where j.state = 'failed') as failed,
                    count(*) filter (where j.state = 'cancelled') as cancelled
                from imagen.jobs j group by j.backend
            ) ended
            left join (
                select
                    j.backend,
                    count(*) filter (where j.run_at <= at) as ready,
                    count(*) filter (where j.run_at > at) as delayed,
                    min(j.run_at) filter (where j.run_at <= at) as since
                from imagen.jobs j where j.state = 'queued' group by j.backend
            ) waiting using (backend)
        ) load
    );
end
$$;
comment on function imagen.stats() is 'How many jobs there are, by backend';

create or replace function imagen.list_backends() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'backend', b.backend, 'resource', b.resource, 'max_running', b.max_running, 'about', b.about,
        'worker', b.worker, 'seen_at', imagen.iso(b.seen_at)
    ) order by b.backend, b.resource), '[]') from imagen.backends b
$$;

-- Who may do it

revoke all on imagen.jobs, imagen.backends, imagen.turns from public, anon, service_role;
revoke all on sequence imagen.jobs_seq_seq from public, anon, authenticated, service_role;
grant select on imagen.jobs, imagen.backends to service_role;

revoke all on function imagen.moment, imagen.be_brief, imagen.iso, imagen.as_job, imagen.is_legible, imagen.known_backends,
    imagen.enqueue, imagen.cancel, imagen.retry, imagen.get_job, imagen.list_jobs, imagen.stats, imagen.list_backends
    from public, anon, authenticated, service_role;
grant execute on function imagen.enqueue, imagen.cancel, imagen.retry, imagen.get_job, imagen.list_jobs, imagen.stats,
    imagen.list_backends
    to service_role;

notify pgrst, 'reload schema';
