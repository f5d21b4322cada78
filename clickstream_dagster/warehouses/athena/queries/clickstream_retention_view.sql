-- Returning users of an app, by cohorts of the days from one to another.
select
    app_id,
    first_date,
    day_diff,
    returned_user_count,
    total_users
from clickstream_retention_view
where
    app_id = ?
    and first_date between cast(? as date) and cast(? as date)
