with digits as (
    {%- for digit in range(10) %}
    select {{ digit }} as digit
    {{- " union all" if not loop.last }}
    {%- endfor %}
),

bounds as (
    select
        min(report_date) as first_day,
        max(report_date) as last_day
    from {{ ref("clickstream_active_users_daily") }}
),

days as (
    select
        cast(
            {{ dbt.dateadd(
                "day",
                "10000 * a.digit + 1000 * b.digit + 100 * c.digit + 10 * d.digit + e.digit",
                "bounds.first_day"
            ) }} as date
        ) as report_date,
        bounds.last_day
    from bounds
    cross join digits as a
    cross join digits as b
    cross join digits as c
    cross join digits as d
    cross join digits as e
)

select report_date
from days
where report_date <= last_day
