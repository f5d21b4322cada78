-- Stages of the users of an app on the days from one to another.
select
    app_id,
    time_period,
    this_day_value,
    sum
from clickstream_lifecycle_daily_view
where
    app_id = ?
    and time_period between cast(? as date) and cast(? as date)
