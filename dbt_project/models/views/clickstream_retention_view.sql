with returned as (
    select
        u.app_id,
        u.first_active_date as first_date,
        {{ dbt.datediff("u.first_active_date", "d.report_date", "day") }} as day_diff,
        count(*) as returned_user_count
    from {{ ref("clickstream_user_day_base") }} as d
    inner join {{ ref("clickstream_user_base") }} as u
        on d.app_id = u.app_id and d.user_pseudo_id = u.user_pseudo_id
    group by 1, 2, 3
),

cohorts as (
    select
        app_id,
        first_active_date as first_date,
        count(*) as total_users
    from {{ ref("clickstream_user_base") }}
    group by 1, 2
)

select
    r.app_id,
    r.first_date,
    r.day_diff,
    r.returned_user_count,
    c.total_users
from returned as r
inner join cohorts as c on r.app_id = c.app_id and r.first_date = c.first_date
where r.day_diff between 0 and {{ var("retention_days") | int }}
