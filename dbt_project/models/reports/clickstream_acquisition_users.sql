select
    u.app_id,
    u.user_pseudo_id,
    u.user_id,
    u.first_visit_date,
    u.first_visit_install_source as first_install_source,
    u.first_visit_device_language,
    u.first_platform,
    u.first_visit_country,
    u.first_visit_city,
    u.first_traffic_source_source,
    u.first_traffic_source_medium,
    u.first_traffic_source_name,
    a.attr_key as custom_attr_key,
    a.attr_value as custom_attr_value,
    u.is_registered
from {{ ref("clickstream_user_dim_view") }} as u
left join {{ ref("clickstream_user_attr_base") }} as a
    on u.app_id = a.app_id and u.user_pseudo_id = a.user_pseudo_id
