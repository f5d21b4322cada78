{{ config(
    meta={
        "description": "Each user with a session start on a day is in one of the stages but churn.",
        "dagster": {"ref": {"name": "clickstream_lifecycle_daily_view"}},
    },
) }}
with stages as (
    select app_id, time_period, sum(sum) as users
    from {{ ref("clickstream_lifecycle_daily_view") }}
    where this_day_value <> '0-CHURN' and {{ only_when_everything_is_tested() }}
    group by app_id, time_period
),

active as (
    select app_id, report_date, count(*) as users
    from {{ ref("clickstream_user_day_base") }}
    where session_start_count > 0 and {{ only_when_everything_is_tested() }}
    group by app_id, report_date
)

select
    coalesce(stages.app_id, active.app_id) as app_id,
    coalesce(stages.time_period, active.report_date) as day,
    stages.users as users_by_stage,
    active.users as active_users
from stages
full outer join active
    on stages.app_id = active.app_id and stages.time_period = active.report_date
where coalesce(stages.users, 0) <> coalesce(active.users, 0)
