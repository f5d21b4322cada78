select
    a.app_id,
    a.user_pseudo_id,
    u.last_user_id as user_id,
    a.attr_key as custom_attr_key,
    a.attr_value as custom_attr_value
from {{ ref("clickstream_user_attr_base") }} as a
inner join {{ ref("clickstream_user_base") }} as u
    on a.app_id = u.app_id and a.user_pseudo_id = u.user_pseudo_id
