{#- On Athena nothing is copied: the lake is a table of the engine. #}
{{ config(
    materialized="view" if target.type == "athena" else "incremental",
    meta={"defined_by": ["session_idle_minutes", "time_zone", "view_events"]},
) }}

{%- set changes = file_changes() %}

select
    app_id,
    event_date,
    event_name,
    event_id,
    event_bundle_sequence_id,
    event_previous_timestamp,
    event_server_timestamp_offset,
    event_timestamp,
    ingest_timestamp,
    event_value_in_usd,
    {{ nested("e.app_info.app_id", "string") }} as app_info_app_id,
    {{ nested("e.app_info.id", "string") }} as app_info_package_id,
    {{ nested("e.app_info.install_source", "string") }} as app_info_install_source,
    {{ nested("e.app_info.version", "string") }} as app_info_version,
    {{ nested("e.device.mobile_brand_name", "string") }} as device_mobile_brand_name,
    {{ nested("e.device.mobile_model_name", "string") }} as device_mobile_model_name,
    {{ nested("e.device.manufacturer", "string") }} as device_manufacturer,
    {{ nested("e.device.screen_width", "int") }} as device_screen_width,
    {{ nested("e.device.screen_height", "int") }} as device_screen_height,
    {{ nested("e.device.carrier", "string") }} as device_carrier,
    {{ nested("e.device.network_type", "string") }} as device_network_type,
    {{ nested("e.device.operating_system", "string") }} as device_operating_system,
    {{ nested("e.device.operating_system_version", "string") }} as device_operating_system_version,
    {{ nested("e.device.ua_browser", "string") }} as ua_browser,
    {{ nested("e.device.ua_browser_version", "string") }} as ua_browser_version,
    {{ nested("e.device.ua_os", "string") }} as ua_os,
    {{ nested("e.device.ua_os_version", "string") }} as ua_os_version,
    {{ nested("e.device.ua_device", "string") }} as ua_device,
    {{ nested("e.device.ua_device_category", "string") }} as ua_device_category,
    {{ nested("e.device.system_language", "string") }} as device_system_language,
    {{ nested("e.device.time_zone_offset_seconds", "int") }} as device_time_zone_offset_seconds,
    {{ nested("e.device.vendor_id", "string") }} as device_vendor_id,
    {{ nested("e.device.advertising_id", "string") }} as device_advertising_id,
    {{ nested("e.geo.continent", "string") }} as geo_continent,
    {{ nested("e.geo.country", "string") }} as geo_country,
    {{ nested("e.geo.city", "string") }} as geo_city,
    {{ nested("e.geo.metro", "string") }} as geo_metro,
    {{ nested("e.geo.region", "string") }} as geo_region,
    {{ nested("e.geo.sub_continent", "string") }} as geo_sub_continent,
    {{ nested("e.geo.locale", "string") }} as geo_locale,
    platform,
    project_id,
    {{ nested("e.traffic_source.name", "string") }} as traffic_source_name,
    {{ nested("e.traffic_source.medium", "string") }} as traffic_source_medium,
    {{ nested("e.traffic_source.source", "string") }} as traffic_source_source,
    user_first_touch_timestamp,
    user_id,
    user_pseudo_id,
    {{ event_param("_session_id", "string") }} as session_id,
    coalesce(
        nullif({{ event_param("_session_id", "string") }}, ''),
        case
            when user_pseudo_id is null then '#' || cast(event_date as varchar)
            else {{ kept_session_key() }}
        end
    ) as session_key,
    {{ event_param("_session_start_timestamp", "int") }} as session_start_timestamp,
    {{ int32(event_param("_session_duration", "int")) }} as session_duration,
    {{ int32(event_param("_engagement_time_msec", "int")) }} as engagement_time_msec,
    {{ view_name() }} as view_name,
    event_params,
    user_properties,
    lake_file,
    cast({{ changes.load_id }} as bigint) as load_id,
    {{ report_day("event_date", "event_timestamp") }} as report_date
from {{ lake_events(changes) }} as e
where {{ in_files_to_load(changes) }}
