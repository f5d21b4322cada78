select
    d.app_id,
    d.report_date,
    d.user_pseudo_id,
    u.last_user_id as user_id,
    u.first_active_date as first_touch_date,
    case when u.first_active_date = d.report_date then 'new' else 'existing' end as user_type,
    d.event_count
from {{ ref("clickstream_user_day_base") }} as d
inner join {{ ref("clickstream_user_base") }} as u
    on d.app_id = u.app_id and d.user_pseudo_id = u.user_pseudo_id
