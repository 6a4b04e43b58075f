-- What was spent, on what, by whom. The prompt never comes here, only its hash.

create schema if not exists mai;

create table if not exists mai.imagen_usage (
    id uuid primary key,
    created_at timestamptz not null default now(),
    backend text not null,
    model text not null,
    seed bigint,
    prompt_hash text not null,
    latency_ms bigint,
    cost_usd_estimate numeric,
    caller text,
    constraint imagen_usage_hash_is_none_of_a_prompt check (prompt_hash ~ '^[0-9a-f]{64}$'),
    constraint imagen_usage_cost_is_a_number check (cost_usd_estimate >= 0 and cost_usd_estimate < 'infinity')
);
comment on table mai.imagen_usage is 'One row a making that was paid for, or may have been; id is the Run''s';
comment on column mai.imagen_usage.cost_usd_estimate is 'null if nobody knows the price';

create index if not exists imagen_usage_created_idx on mai.imagen_usage (created_at desc);
create index if not exists imagen_usage_caller_idx on mai.imagen_usage (caller);

alter table mai.imagen_usage enable row level security;

-- Other things may live in the schema, so nothing but the own table is changed.
grant usage on schema mai to service_role;
revoke all on mai.imagen_usage from public, anon, authenticated, service_role;
grant select, insert on mai.imagen_usage to service_role;

notify pgrst, 'reload schema';
