-- What was spent a day, on what, by whom: of a table of any length a short answer.

create or replace view mai.imagen_usage_daily with (security_invoker = true) as
select
    (created_at at time zone 'UTC')::date as day,
    backend,
    model,
    coalesce(caller, '') as caller,
    count(*) as count,
    coalesce(sum(latency_ms), 0)::bigint as latency_ms,
    coalesce(sum(cost_usd_estimate), 0) as cost_usd,
    count(*) filter (where cost_usd_estimate is null) as unknown
from mai.imagen_usage
group by 1, 2, 3, 4;
comment on view mai.imagen_usage_daily is 'mai.imagen_usage summed up by UTC day, backend, model and caller';

revoke all on mai.imagen_usage_daily from public, anon, authenticated, service_role;
grant select on mai.imagen_usage_daily to service_role;

notify pgrst, 'reload schema';
