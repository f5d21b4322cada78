{{ config(
    meta={
        "description": "The daily engagement counts each session once, on the day that it starts.",
        "dagster": {"ref": {"name": "clickstream_engagement_daily"}},
    },
) }}
{%- set days = ref("clickstream_engagement_daily") %}
with counted as (
    select app_id, report_date, sum(session_count) as sessions, sum(session_views) as views
    from {{ days }}
    where {{ days_to_test(days, "report_date") }}
    group by app_id, report_date
),

expected as (
    select app_id, report_date, count(*) as sessions, sum(session_views) as views
    from {{ ref("clickstream_session_base") }}
    where report_date is not null and {{ days_to_test(days, "report_date") }}
    group by app_id, report_date
)

select
    coalesce(counted.app_id, expected.app_id) as app_id,
    coalesce(counted.report_date, expected.report_date) as report_date,
    counted.sessions,
    expected.sessions as expected_sessions
from counted
full outer join expected
    on counted.app_id = expected.app_id and counted.report_date = expected.report_date
where
    coalesce(counted.sessions, 0) <> coalesce(expected.sessions, 0)
    or coalesce(counted.views, 0) <> coalesce(expected.views, 0)
