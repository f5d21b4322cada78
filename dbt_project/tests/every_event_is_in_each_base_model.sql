-- Sessions, paths and devices hold each event once; user-days each event that has a user.
{{ config(meta={"dagster": {"ref": {"name": "clickstream_event_base"}}}) }}
with events as (
    select
        count(*) as all_events,
        count(user_pseudo_id) as events_of_users
    from {{ ref("clickstream_event_base") }}
),

totals as (
    select
        'sessions' as model,
        sum(event_count) as events
    from {{ ref("clickstream_session_base") }}
    union all
    select 'paths', count(*) from {{ ref("clickstream_path_base") }}
    union all
    select 'devices', sum(usage_num) from {{ ref("clickstream_device_base") }}
    union all
    select 'user days', sum(event_count) from {{ ref("clickstream_user_day_base") }}
)

select
    totals.model,
    totals.events,
    events.all_events,
    events.events_of_users
from totals
cross join events
where
    coalesce(totals.events, 0)
    <> case when totals.model = 'user days' then events.events_of_users else events.all_events end
