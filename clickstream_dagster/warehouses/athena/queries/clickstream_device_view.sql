-- Devices of an app from one day to another.
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
    usage_num
from clickstream_device_view
where
    app_id = ?
    and event_date between cast(? as date) and cast(? as date)
