-- What workers do with the queue of jobs.

create or replace function imagen.backoff(attempt integer) returns interval
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select make_interval(secs => (0.5 + 0.5 * random()) * least(900, 5 * power(3, backoff.attempt - 1)))
$$;
comment on function imagen.backoff(integer) is 'How long to wait after that attempt: longer each time, and not all at once';

create or replace function imagen.end_attempt(
    job imagen.jobs, failure jsonb, retry boolean, after double precision default null, crashed integer default 0
) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    at timestamptz := imagen.moment();
    error jsonb := jsonb_build_object(
        'at', imagen.iso(at), 'attempt', job.attempt, 'worker', job.worker, 'failure', failure
    );
    ending text := case
        when job.cancel_requested then 'cancelled'
        when retry and job.attempt < job.max_attempts then 'queued'
        else 'failed'
    end;
begin
    -- The token stays, so that it gets no other job.
    update imagen.jobs set
        state = ending,
        run_at = case when ending = 'queued'
            then at + case when after is null then imagen.backoff(job.attempt)
                else make_interval(secs => least(greatest(after, 0), 3650 * 86400)) end
            else run_at end,
        finished_at = case when ending <> 'queued' then at end,
        crashes = job.crashes + crashed,
        errors = case when jsonb_typeof(job.errors) = 'array' and jsonb_array_length(job.errors) < 20
            then job.errors || error
            else coalesce(jsonb_path_query_array(job.errors, '$[last - 18 to last]'), '[]') || error end,
        lease_expires_at = null,
        deadline_at = null,
        progress = null
    where seq = job.seq;
    return ending;
end
$$;
comment on function imagen.end_attempt is 'Writes down why an attempt failed, and what the job is now; 20 errors are kept';

create or replace function imagen.rescue(at_most integer default 20) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    at timestamptz := imagen.moment();
    job imagen.jobs;
    late boolean;
    number integer := 0;
begin
    for job in
        select * from imagen.jobs j where j.state = 'running' and j.lease_expires_at < at
        order by j.lease_expires_at limit at_most for update skip locked
    loop
        late := job.deadline_at <= at;
        perform imagen.end_attempt(
            job,
            jsonb_build_object(
                'code', case when late then 'deadline' else 'lease_expired' end,
                'message', format(case when late
                    then 'the worker %s had not finished when the time for the job was up'
                    else 'the worker %s was not heard of in time' end, job.worker),
                'retryable', true
            ),
            retry => true,
            crashed => 1
        );
        number := number + 1;
    end loop;
    return number;
end
$$;
comment on function imagen.rescue(integer) is 'Takes jobs from workers that were not heard of in time; how many';

create or replace function imagen.next_job(backends text[]) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
-- However little the planner knows of the table, it is to read the index in its order, and not to sort the backlog.
set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
    at timestamptz := imagen.moment();
begin
    -- Of each backend, priority and owner only the first job is looked at, which the index gives.
    return (
        with recursive heads as (
            select head.* from unnest(next_job.backends) as served (backend)
            cross join lateral (
                select j.seq, j.backend, j.priority, j.whose, j.run_at from imagen.jobs j
                where j.state = 'queued' and j.backend = served.backend
                order by j.priority, j.whose, j.run_at, j.seq limit 1
            ) head
            union all
            select head.* from heads
            cross join lateral (
                select j.seq, j.backend, j.priority, j.whose, j.run_at from imagen.jobs j
                where j.state = 'queued' and j.backend = heads.backend
                and (j.priority, j.whose) > (heads.priority, heads.whose)
                order by j.priority, j.whose, j.run_at, j.seq limit 1
            ) head
        ), busy as (
            select j.whose, count(*) as running from imagen.jobs j where j.state = 'running' group by 1
        )
        select heads.seq from heads
        left join busy on busy.whose = heads.whose
        left join imagen.turns on turns.whose = heads.whose
        where heads.run_at <= at
        order by heads.priority, coalesce(busy.running, 0), coalesce(turns.served_at, '-infinity'), heads.run_at, heads.seq
        limit 1
    );
end
$$;
comment on function imagen.next_job(text[]) is 'The job that one of these backends should do now: the lowest priority, then the owner with the fewest running, then the one who was served longest ago';

create or replace function imagen.free_backends(backends jsonb) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
    return (
        select coalesce(array_agg(one.key), '{}') from jsonb_each_text(free_backends.backends) as one
        where one.value = '' or (
            select count(*) from imagen.jobs j where j.state = 'running' and j.resource = one.value
        ) < coalesce((select min(b.max_running) from imagen.backends b where b.resource = one.value), 1)
    );
end
$$;
comment on function imagen.free_backends(jsonb) is 'Those whose resource has room; one that nobody announced has it for one';

create or replace function imagen.check_length(seconds double precision) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if not coalesce(seconds > 0 and seconds <= 8 * 86400, false) then
        raise exception 'a lease or deadline is a number of seconds, up to 8 days, not %', seconds using errcode = 'PT400';
    end if;
end
$$;
comment on function imagen.check_length is 'Refuses what nothing can last, and with it a job that would be lost at once or never given back';

create or replace function imagen.claim(
    worker text, token uuid, backends jsonb, lease double precision, deadline double precision
) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
#variable_conflict use_column
declare
    at timestamptz;
    job imagen.jobs;
    chosen bigint;
begin
    perform imagen.check_length(claim.lease), imagen.check_length(claim.deadline);
    if claim.token is null or jsonb_typeof(claim.backends) is distinct from 'object' then
        raise exception 'a claim has a token, and an object of backends' using errcode = 'PT400';
    end if;
    perform imagen.be_brief();
    -- One claim at a time: only so are limits and turns exact. It ends with the transaction; the others
    -- wait for a second at most, since each of them keeps a connection from everybody else.
    perform pg_advisory_xact_lock(73104, 1);
    select * into job from imagen.jobs where lease_token = claim.token;
    if job.id is not null then
        return case when job.state = 'running' then imagen.as_job(job) end;
    end if;
    perform imagen.rescue();
    loop
        chosen := imagen.next_job(imagen.free_backends(claim.backends));
        if chosen is null then
            return null;
        end if;
        at := imagen.moment();
        update imagen.jobs set
            state = 'running',
            attempt = attempt + 1,
            lease_token = claim.token,
            worker = claim.worker,
            resource = claim.backends ->> backend,
            lease_expires_at = at + make_interval(secs => least(claim.lease, claim.deadline)),
            deadline_at = at + make_interval(secs => claim.deadline),
            started_at = coalesce(started_at, at),
            progress = null
        where seq = chosen and state = 'queued'
        returning * into job;
        -- Somebody may have cancelled it meanwhile: then the next one.
        exit when found;
    end loop;
    insert into imagen.turns (whose, served_at) values (job.whose, at)
    on conflict (whose) do update set served_at = excluded.served_at;
    return imagen.as_job(job);
end
$$;
comment on function imagen.claim is 'Takes the next job that one of these backends can do, or that which this token holds; a token that has ended its job gets no other';

create or replace function imagen.heartbeat(
    job uuid, token uuid, lease double precision, progress jsonb default null, checkpoint jsonb default null
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    at timestamptz := imagen.moment();
    told text;
begin
    perform imagen.check_length(heartbeat.lease);
    update imagen.jobs set
        lease_expires_at = least(at + make_interval(secs => heartbeat.lease), deadline_at),
        progress = coalesce(heartbeat.progress, progress),
        checkpoint = coalesce(heartbeat.checkpoint, checkpoint)
    where id = heartbeat.job and lease_token = heartbeat.token and state = 'running'
    returning case when deadline_at <= at then 'lost' when cancel_requested then 'cancel' else 'ok' end into told;
    return coalesce(told, 'lost');
end
$$;
comment on function imagen.heartbeat is 'Holds a job for longer, and writes down what is given: ok, cancel or lost';

create or replace function imagen.complete(job uuid, token uuid, result jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    known imagen.jobs;
begin
    update imagen.jobs set
        state = 'succeeded', result = complete.result, finished_at = imagen.moment(),
        lease_expires_at = null, deadline_at = null, progress = null
    where id = complete.job and lease_token = complete.token and state = 'running';
    if found then
        return 'ok';
    end if;
    select * into known from imagen.jobs where id = complete.job;
    return case
        when known.id is null then 'gone'
        when known.lease_token = complete.token and known.state = 'succeeded' then 'already'
        else 'lost'
    end;
end
$$;
comment on function imagen.complete is 'The job succeeded: ok, already, lost or gone';

create or replace function imagen.fail(
    job uuid, token uuid, failure jsonb, retry boolean, after double precision default null
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    known imagen.jobs;
begin
    select * into known from imagen.jobs j
    where j.id = job and j.lease_token = token and j.state = 'running' for update;
    return case when known.id is null then 'lost' else imagen.end_attempt(known, failure, retry, after) end;
end
$$;
comment on function imagen.fail is 'The attempt failed: what the job is now, or lost';

create or replace function imagen.put_aside(job uuid, token uuid, failure jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    ending text := imagen.fail(job, token, failure, false);
begin
    -- It began nothing, so the same token may take the next one.
    update imagen.jobs j set lease_token = null
    where j.id = job and j.lease_token = token and j.state in ('failed', 'cancelled');
    return ending;
end
$$;
comment on function imagen.put_aside is 'As fail without another attempt, of a job that the worker could not read';

create or replace function imagen.release(job uuid, token uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    at timestamptz := imagen.moment();
    told text;
begin
    update imagen.jobs j set
        state = case when j.cancel_requested then 'cancelled' else 'queued' end,
        run_at = at,
        finished_at = case when j.cancel_requested then at end,
        attempt = j.attempt - 1,
        lease_expires_at = null, deadline_at = null, progress = null
    where j.id = job and j.lease_token = token and j.state = 'running'
    returning j.state into told;
    return coalesce(told, 'lost');
end
$$;
comment on function imagen.release is 'Gives a job back as if it had not been taken: what it is now, or lost';

create or replace function imagen.announce(worker text, offers jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    number integer;
begin
    perform imagen.be_brief();
    -- Always in the same order: else two workers may wait for one another.
    insert into imagen.backends (backend, resource, max_running, worker, about, seen_at)
    select distinct on (one ->> 'backend', one ->> 'resource')
        one ->> 'backend', one ->> 'resource', greatest(1, (one ->> 'max_running')::integer),
        announce.worker, one -> 'about', imagen.moment()
    from jsonb_array_elements(announce.offers) with ordinality as given (one, place)
    order by one ->> 'backend', one ->> 'resource', place desc
    on conflict (backend, resource) do update set
        max_running = excluded.max_running, worker = excluded.worker, about = excluded.about, seen_at = excluded.seen_at;
    get diagnostics number = row_count;
    return number;
end
$$;
comment on function imagen.announce is 'This worker serves these, as of now';

create or replace function imagen.prune(
    succeeded double precision default 30 * 86400, others double precision default 90 * 86400, at_most integer default 1000
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    at timestamptz := imagen.moment();
    number integer;
begin
    if current_setting('role') = 'imagen_worker' and not (succeeded >= 30 * 86400 and others >= 90 * 86400) then
        raise exception 'workers forget no job sooner than after 30 days, or after 90 if it did not succeed'
            using errcode = 'insufficient_privilege';
    end if;
    perform imagen.be_brief();
    -- Whatever somebody else has in hand is left: two who wait for one another get nowhere.
    delete from imagen.backends where (backend, resource) in (
        select b.backend, b.resource from imagen.backends b where b.seen_at < at - interval '7 days' for update skip locked
    );
    delete from imagen.turns where whose in (
        select t.whose from imagen.turns t where t.served_at < at - interval '7 days' for update skip locked
    );
    delete from imagen.jobs where seq in (
        select j.seq from imagen.jobs j
        where (j.state = 'succeeded' and j.finished_at < at - make_interval(secs => succeeded))
        or (j.state in ('failed', 'cancelled') and j.finished_at < at - make_interval(secs => others))
        limit at_most for update skip locked
    );
    get diagnostics number = row_count;
    return number;
end
$$;
comment on function imagen.prune is 'Forgets jobs that ended so many seconds ago, and what was offered a week ago; how many jobs';

-- Who may do it

revoke all on function imagen.backoff, imagen.end_attempt, imagen.next_job, imagen.free_backends,
    imagen.check_length, imagen.claim, imagen.heartbeat, imagen.complete, imagen.fail, imagen.put_aside, imagen.release, imagen.rescue, imagen.announce,
    imagen.prune
    from public, anon, authenticated, service_role;
grant execute on function imagen.claim, imagen.heartbeat, imagen.complete, imagen.fail, imagen.put_aside, imagen.release,
    imagen.rescue, imagen.announce, imagen.prune
    to service_role;

notify pgrst, 'reload schema';
