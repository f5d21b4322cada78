{{ config(meta={
    "follows": "clickstream_event_base",
    "reopens": ["app_id", "user_pseudo_id", "event_date"],
    "dated": "event_date",
    "form": 3,
    "defined_by": ["time_zone"],
}) }}
{{ partitioned_by("app_id", "month(event_date)") }}

{%- set loads = loads_to_take_in() %}

select
    e.app_id,
    e.device_vendor_id as device_id,
    e.event_date,
    e.report_date,
    e.device_mobile_brand_name as mobile_brand_name,
    e.device_mobile_model_name as mobile_model_name,
    e.device_manufacturer as manufacturer,
    e.device_screen_width as screen_width,
    e.device_screen_height as screen_height,
    e.device_carrier as carrier,
    e.device_network_type as network_type,
    e.device_operating_system as operating_system,
    e.device_operating_system_version as operating_system_version,
    e.ua_browser,
    e.ua_browser_version,
    e.ua_os,
    e.ua_os_version,
    e.ua_device,
    e.ua_device_category,
    e.device_system_language as system_language,
    e.device_time_zone_offset_seconds as time_zone_offset_seconds,
    e.device_advertising_id as advertising_id,
    e.user_pseudo_id,
    nullif(e.user_id, '') as user_id,
    count(e.event_id) as usage_num,
    cast({{ loads.upto }} as bigint) as load_id
from {{ ref("clickstream_event_base") }} as e
{{ reopened(loads, "e") }}
{#- Every column above but the last two. #}
group by {{ range(1, 25) | join(", ") }}
