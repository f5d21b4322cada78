select
    f.*,
    case when u.user_id_count > 0 then 'Registered' else 'Non-registered' end as is_registered
from (
    select
        user_pseudo_id,
        user_id,
        event_date as first_visit_date,
        app_info.install_source as first_visit_install_source,
        device.system_language as first_visit_device_language,
        platform as first_platform,
        geo.country as first_visit_country,
        geo.city as first_visit_city,
        case
            when nullif(traffic_source.source, '') is null then '(direct)'
            else traffic_source.source
        end as first_traffic_source_source,
        traffic_source.medium as first_traffic_source_medium,
        traffic_source.name as first_traffic_source_name
    from ods_events
    where event_name in ('_first_open', '_first_visit')
) as f
left join (
    select user_pseudo_id, count(distinct user_id) as user_id_count
    from ods_events
    where event_name not in ('_first_open', '_first_visit')
    group by 1
) as u on f.user_pseudo_id = u.user_pseudo_id
