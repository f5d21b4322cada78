select
    app_id,
    user_pseudo_id,
    first_user_id as user_id,
    first_visit_date,
    first_visit_install_source,
    first_visit_device_language,
    first_platform,
    first_visit_country,
    first_visit_city,
    coalesce(nullif(first_traffic_source_source, ''), '(direct)') as first_traffic_source_source,
    first_traffic_source_medium,
    first_traffic_source_name,
    case when is_registered = 1 then 'Registered' else 'Non-registered' end as is_registered
from {{ ref("clickstream_user_base") }}
