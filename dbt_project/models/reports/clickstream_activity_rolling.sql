with days as (
    select
        app_id,
        report_date,
        event_name,
        user_type,
        sum(event_count) as event_count
    from {{ ref("clickstream_activity_daily") }}
    group by app_id, report_date, event_name, user_type
),

active as (
    select distinct app_id, report_date from days
),

dates as (
    select app_id, report_date from active
    union all
    {{ quiet_days("active") }}
),

-- Every kind of event on every day of the app, whether something happened on it or not.
rows_to_fill as (
    select
        kinds.app_id,
        dates.report_date,
        kinds.event_name,
        kinds.user_type
    from (select distinct app_id, event_name, user_type from days) as kinds
    inner join dates on kinds.app_id = dates.app_id
)

select
    f.app_id,
    f.report_date,
    f.event_name,
    f.user_type,
    cast(coalesce(sum(case when d.report_date = f.report_date then d.event_count end), 0) as bigint)
        as event_count,
    cast(
        coalesce(
            sum(case
                when d.report_date > {{ dbt.dateadd("day", -7, "f.report_date") }}
                    then d.event_count
            end),
            0
        ) as bigint
    ) as event_count_last_7_days,
    cast(sum(d.event_count) as bigint) as event_count_last_30_days
from rows_to_fill as f
inner join days as d
    on
        f.app_id = d.app_id
        and f.event_name = d.event_name
        and {{ same("f.user_type", "d.user_type") }}
        and f.report_date >= d.report_date
        and d.report_date > {{ dbt.dateadd("day", -30, "f.report_date") }}
group by f.app_id, f.report_date, f.event_name, f.user_type
