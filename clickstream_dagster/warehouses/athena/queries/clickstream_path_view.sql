-- Events of an app from one day to another, with the ones before and after.
select
    app_id,
    user_pseudo_id,
    event_date,
    event_id,
    event_name,
    event_timestamp,
    platform,
    session_id,
    current_screen,
    event_rank,
    previous_event,
    next_event,
    previous_screen,
    next_screen
from clickstream_path_view
where
    app_id = ?
    and event_date between cast(? as date) and cast(? as date)
