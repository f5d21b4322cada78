with sessions as (
    select
        session_id,
        user_pseudo_id,
        platform,
        max(session_duration) as session_duration,
        case when max(session_duration) > 10000 or sum(is_view) > 1 then 1 else 0 end
            as engaged_session,
        case when max(session_duration) > 10000 or sum(is_view) > 1 then 0 else 1 end
            as bounced_session,
        min(session_start) as session_start_timestamp,
        sum(is_view) as session_views,
        sum(engagement_time) as session_engagement_time
    from (
        select
            user_pseudo_id,
            event_id,
            platform,
            (
                select p.value.string_value
                from ods_events as e, unnest(e.event_params) as t(p)
                where p.key = '_session_id' and e.event_id = o.event_id
            ) as session_id,
            (
                select cast(p.value.int_value as int)
                from ods_events as e, unnest(e.event_params) as t(p)
                where p.key = '_session_duration' and e.event_id = o.event_id
            ) as session_duration,
            (
                select p.value.int_value
                from ods_events as e, unnest(e.event_params) as t(p)
                where p.key = '_session_start_timestamp' and e.event_id = o.event_id
            ) as session_start,
            (
                select cast(p.value.int_value as int)
                from ods_events as e, unnest(e.event_params) as t(p)
                where
                    p.key = '_engagement_time_msec'
                    and e.event_name = '_user_engagement'
                    and e.event_id = o.event_id
            ) as engagement_time,
            case when event_name in ('_screen_view', '_page_view') then 1 else 0 end as is_view
        from ods_events as o
    )
    group by 1, 2, 3
),

ends as (
    select session_id, first_id, last_id, count(event_id) as views
    from (
        select
            session_id,
            event_id,
            first_value(event_id) over (
                partition by session_id order by event_timestamp
                rows between unbounded preceding and unbounded following
            ) as first_id,
            last_value(event_id) over (
                partition by session_id order by event_timestamp
                rows between unbounded preceding and unbounded following
            ) as last_id
        from (
            select e.event_id, e.event_timestamp, p.value.string_value as session_id
            from ods_events as e, unnest(e.event_params) as t(p)
            where e.event_name in ('_screen_view', '_page_view') and p.key = '_session_id'
        )
    )
    group by 1, 2, 3
),

names as (
    select e.event_id, p.value.string_value as view_name
    from ods_events as e, unnest(e.event_params) as t(p)
    where p.key in ('_screen_name', '_page_title')
),

entries as (
    select ends.session_id, ends.last_id, names.view_name as entry_view
    from ends
    left join names on ends.first_id = names.event_id
),

views as (
    select entries.session_id, entries.entry_view, names.view_name as exit_view
    from entries
    left join names on entries.last_id = names.event_id
)

select
    s.session_id,
    s.user_pseudo_id,
    s.platform,
    s.session_duration,
    s.session_views,
    s.engaged_session,
    s.bounced_session,
    s.session_start_timestamp,
    s.session_engagement_time,
    date_trunc('day', epoch_ms(s.session_start_timestamp)) as session_date,
    date_trunc('hour', epoch_ms(s.session_start_timestamp)) as session_date_hour,
    views.entry_view,
    views.exit_view
from sessions as s
left join views on s.session_id = views.session_id
