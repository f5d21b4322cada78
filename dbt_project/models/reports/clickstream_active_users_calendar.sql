with quiet as (
    {{ quiet_days(ref("clickstream_active_users_daily")) }}
),

days as (
    select
        app_id,
        report_date,
        daily_active_users,
        weekly_active_users,
        monthly_active_users
    from {{ ref("clickstream_active_users_daily") }}
    union all
    select
        q.app_id,
        q.report_date,
        0 as daily_active_users,
        count(distinct case
            when r.report_date > {{ dbt.dateadd("day", -7, "q.report_date") }}
                then r.user_pseudo_id
        end) as weekly_active_users,
        count(distinct r.user_pseudo_id) as monthly_active_users
    from quiet as q
    inner join {{ ref("clickstream_user_day_base") }} as r
        on
            q.app_id = r.app_id
            and q.report_date > r.report_date
            and r.report_date > {{ dbt.dateadd("day", -30, "q.report_date") }}
    group by q.app_id, q.report_date
)

select
    app_id,
    report_date,
    daily_active_users,
    weekly_active_users,
    monthly_active_users,
    {{ ratio("daily_active_users", "weekly_active_users") }} as dau_wau,
    {{ ratio("weekly_active_users", "monthly_active_users") }} as wau_mau,
    {{ ratio("daily_active_users", "monthly_active_users") }} as dau_mau
from days
