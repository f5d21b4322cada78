select
    e.app_id,
    e.event_date,
    e.report_date,
    e.event_id,
    e.event_name,
    e.event_timestamp,
    e.platform,
    e.app_info_version,
    case
        when u.first_active_date = e.report_date then 'new'
        when u.first_active_date is not null then 'existing'
    end as user_type,
    e.view_name,
    e.user_pseudo_id,
    e.user_id
from {{ ref("clickstream_event_base") }} as e
left join {{ ref("clickstream_user_base") }} as u
    on e.app_id = u.app_id and e.user_pseudo_id = u.user_pseudo_id
