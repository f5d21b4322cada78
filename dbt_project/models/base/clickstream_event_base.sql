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
    app_info.app_id as app_info_app_id,
    app_info.id as app_info_package_id,
    app_info.install_source as app_info_install_source,
    app_info.version as app_info_version,
    device.mobile_brand_name as device_mobile_brand_name,
    device.mobile_model_name as device_mobile_model_name,
    device.manufacturer as device_manufacturer,
    device.screen_width as device_screen_width,
    device.screen_height as device_screen_height,
    device.carrier as device_carrier,
    device.network_type as device_network_type,
    device.operating_system as device_operating_system,
    device.operating_system_version as device_operating_system_version,
    device.ua_browser as ua_browser,
    device.ua_browser_version as ua_browser_version,
    device.ua_os as ua_os,
    device.ua_os_version as ua_os_version,
    device.ua_device as ua_device,
    device.ua_device_category as ua_device_category,
    device.system_language as device_system_language,
    device.time_zone_offset_seconds as device_time_zone_offset_seconds,
    device.vendor_id as device_vendor_id,
    device.advertising_id as device_advertising_id,
    geo.continent as geo_continent,
    geo.country as geo_country,
    geo.city as geo_city,
    geo.metro as geo_metro,
    geo.region as geo_region,
    geo.sub_continent as geo_sub_continent,
    geo.locale as geo_locale,
    platform,
    project_id,
    traffic_source.name as traffic_source_name,
    traffic_source.medium as traffic_source_medium,
    traffic_source.source as traffic_source_source,
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
from {{ lake_events() }}
where {{ in_files_to_load(changes) }}
