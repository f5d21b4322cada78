-- Stages of the users of an app in the weeks that start from one day to another.
select
    app_id,
    time_period,
    this_week_value,
    sum
from clickstream_lifecycle_weekly_view
where
    app_id = ?
    and time_period between cast(? as date) and cast(? as date)
