{{ config(
    meta={
        "description": "On each day, paths and devices hold each event once; user-days each event that "
        ~ "has a user.",
        "dagster": {"ref": {"name": "clickstream_event_base"}},
    },
) }}
{%- set events = ref("clickstream_event_base") %}
with counted as (
    select
        'paths' as model,
        app_id,
        event_date as day,
        count(*) as events
    from {{ ref("clickstream_path_base") }}
    where {{ whole_days_to_test(events, "event_date") }}
    group by app_id, event_date
    union all
    select
        'devices' as model,
        app_id,
        event_date as day,
        sum(usage_num) as events
    from {{ ref("clickstream_device_base") }}
    where {{ whole_days_to_test(events, "event_date") }}
    group by app_id, event_date
    union all
    select
        'user days' as model,
        app_id,
        report_date as day,
        sum(event_count) as events
    from {{ ref("clickstream_user_day_base") }}
    where {{ whole_days_to_test(events, "report_date") }}
    group by app_id, report_date
    union all
    select
        'activity' as model,
        app_id,
        report_date as day,
        sum(event_count) as events
    from {{ ref("clickstream_activity_daily") }}
    where {{ whole_days_to_test(events, "report_date") }}
    group by app_id, report_date
    union all
    select
        'active users' as model,
        app_id,
        report_date as day,
        event_count as events
    from {{ ref("clickstream_active_users_daily") }}
    where {{ whole_days_to_test(events, "report_date") }}
),

expected as (
    select
        models.model,
        e.app_id,
        e.event_date as day,
        count(*) as events
    from {{ events }} as e
    cross join (select 'paths' as model union all select 'devices' as model) as models
    where {{ whole_days_to_test(events, "event_date", "e.event_date") }}
    group by models.model, e.app_id, e.event_date
    union all
    select
        models.model,
        e.app_id,
        e.report_date as day,
        count(*) as events
    from {{ events }} as e
    cross join (select 'user days' as model union all select 'active users' as model) as models
    where {{ whole_days_to_test(events, "report_date", "e.report_date") }} and e.user_pseudo_id is not null
    group by models.model, e.app_id, e.report_date
    union all
    select
        'activity' as model,
        e.app_id,
        e.report_date as day,
        count(*) as events
    from {{ events }} as e
    where {{ whole_days_to_test(events, "report_date", "e.report_date") }}
    group by e.app_id, e.report_date
)

select
    coalesce(counted.model, expected.model) as model,
    coalesce(counted.app_id, expected.app_id) as app_id,
    coalesce(counted.day, expected.day) as day,
    counted.events,
    expected.events as expected_events
from counted
full outer join expected
    on
        counted.model = expected.model
        and counted.app_id = expected.app_id
        and counted.day = expected.day
where coalesce(counted.events, 0) <> coalesce(expected.events, 0)
