with event_data as (
    select
        user_pseudo_id,
        event_date,
        event_id,
        event_name,
        event_timestamp,
        platform,
        (
            select p.value.string_value
            from ods_events as e, unnest(e.event_params) as t(p)
            where p.key = '_session_id' and e.event_id = o.event_id
        ) as session_id,
        (
            select p.value.string_value
            from ods_events as e, unnest(e.event_params) as t(p)
            where
                p.key = '_screen_name'
                and e.event_name = '_screen_view'
                and e.event_id = o.event_id
        ) as current_screen
    from ods_events as o
)

select
    *,
    dense_rank() over w as event_rank,
    lag(event_name, 1) over w as previous_event,
    lead(event_name, 1) over w as next_event,
    lag(current_screen, 1) over w as previous_screen,
    lead(current_screen, 1) over w as next_screen
from event_data
window w as (partition by user_pseudo_id, session_id order by event_timestamp)
