select
    r.app_id,
    r.first_date,
    r.day_diff,
    r.returned_user_count,
    cohorts.returned_user_count as total_users
from {{ ref("clickstream_retention_daily") }} as r
-- Everyone is there on their first day. By both dates: engines skip other cohorts' rows by either.
inner join {{ ref("clickstream_retention_daily") }} as cohorts
    on
        r.app_id = cohorts.app_id
        and r.first_date = cohorts.first_date
        and r.first_date = cohorts.report_date
