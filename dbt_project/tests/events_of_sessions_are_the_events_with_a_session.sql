{{ config(
    meta={
        "description": "A session counts its events; looked at are those that lie on the days of the "
        ~ "last load.",
        "dagster": {"ref": {"name": "clickstream_session_base"}},
    },
) }}
{%- set events = ref("clickstream_event_base") %}
with sessions as (
    select app_id, session_key, user_pseudo_id, platform, event_count
    from {{ ref("clickstream_session_base") }}
    where
        {{ whole_days_to_test(events, "event_date", "first_event_date") }}
        and {{ whole_days_to_test(events, "event_date", "last_event_date") }}
),

counted as (
    select app_id, session_key, user_pseudo_id, platform, count(*) as events
    from {{ events }}
    where {{ whole_days_to_test(events, "event_date") }}
    group by app_id, session_key, user_pseudo_id, platform
)

select
    s.app_id,
    s.session_key,
    s.event_count,
    c.events
from sessions as s
left join counted as c
    on
        s.app_id = c.app_id
        and s.session_key = c.session_key
        and {{ same("s.user_pseudo_id", "c.user_pseudo_id") }}
        and {{ same("s.platform", "c.platform") }}
where s.event_count <> coalesce(c.events, 0)
