{%- set horizon = var("retention_days") | int %}
with cohorts as (
    select
        app_id,
        first_date,
        returned_user_count as total_users
    from {{ ref("clickstream_retention_daily") }}
    where report_date = first_date
),

-- A clock that is ahead makes no days of those to come.
last_days as (
    select
        app_id,
        case when max(report_date) < {{ today() }} then max(report_date) else {{ today() }} end
            as last_date
    from {{ ref("clickstream_active_users_daily") }}
    group by app_id
),

numbers as (
    {{ dbt.generate_series(horizon + 1) }}
),

days as (
    select cast(generated_number - 1 as integer) as day_diff
    from numbers
)

select
    c.app_id,
    c.first_date,
    days.day_diff,
    cast({{ dbt.dateadd("day", "days.day_diff", "c.first_date") }} as date) as report_date,
    coalesce(r.returned_user_count, 0) as returned_user_count,
    c.total_users,
    {{ ratio("coalesce(r.returned_user_count, 0)", "c.total_users") }} as retention_rate
from cohorts as c
inner join last_days as l on c.app_id = l.app_id
cross join days
left join {{ ref("clickstream_retention_daily") }} as r
    on
        c.app_id = r.app_id
        and c.first_date = r.first_date
        and days.day_diff = r.day_diff
where
    r.day_diff is not null
    or {{ dbt.datediff("c.first_date", "l.last_date", "day") }} >= days.day_diff
