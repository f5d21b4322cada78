select
    app_id,
    session_key as session_id,
    user_pseudo_id,
    platform,
    session_duration,
    session_views,
    case when {{ is_engaged("session_duration", "session_views") }} then 1 else 0 end as engaged_session,
    case when {{ is_engaged("session_duration", "session_views") }} then 0 else 1 end as bounced_session,
    session_start_timestamp,
    session_engagement_time,
    cast(report_date as timestamp) as session_date,
    {{ ms_trunc("hour", "session_start_timestamp") }} as session_date_hour,
    entry_view,
    exit_view
from {{ ref("clickstream_session_base") }}
