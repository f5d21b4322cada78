select
    app_id,
    device_id,
    event_date,
    mobile_brand_name,
    mobile_model_name,
    manufacturer,
    screen_width,
    screen_height,
    carrier,
    network_type,
    operating_system,
    operating_system_version,
    ua_browser,
    ua_browser_version,
    ua_os,
    ua_os_version,
    ua_device,
    ua_device_category,
    system_language,
    time_zone_offset_seconds,
    advertising_id,
    user_pseudo_id,
    user_id,
    cast(sum(usage_num) as bigint) as usage_num
from {{ ref("clickstream_device_base") }}
{#- Every column above but the last one. A UTC day has events of two reporting days. #}
group by {{ range(1, 24) | join(", ") }}
