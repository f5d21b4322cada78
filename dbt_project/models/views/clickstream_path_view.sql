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
from {{ ref("clickstream_path_base") }}
