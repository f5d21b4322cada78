-- Sessions of an app that start (in the reporting time zone) from one day to another.
select
    app_id,
    session_id,
    user_pseudo_id,
    platform,
    session_duration,
    session_views,
    engaged_session,
    bounced_session,
    session_start_timestamp,
    session_engagement_time,
    session_date,
    session_date_hour,
    entry_view,
    exit_view
from clickstream_session_view
where
    app_id = ?
    and cast(session_date as date) between cast(? as date) and cast(? as date)
