"""The views that users hold on to, and their columns (seed 000, "Preset data views")."""

# The columns of the seed, in its order; every view has `app_id` before them.
COLUMNS = {
    "clickstream_ods_event_view": """event_date, event_name, event_id, event_bundle_sequence_id,
        event_previous_timestamp, event_server_timestamp_offset, event_timestamp, ingest_timestamp,
        event_value_in_usd, app_info_app_id, app_info_package_id, app_info_install_source,
        app_info_version, device_mobile_brand_name, device_mobile_model_name, device_manufacturer,
        device_screen_width, device_screen_height, device_carrier, device_network_type,
        device_operating_system, device_operating_system_version, ua_browser, ua_browser_version,
        ua_os, ua_os_version, ua_device, ua_device_category, device_system_language,
        device_time_zone_offset_seconds, geo_continent, geo_country, geo_city, geo_metro,
        geo_region, geo_sub_continent, geo_locale, platform, project_id, traffic_source_name,
        traffic_source_medium, traffic_source_source, user_first_touch_timestamp, user_id,
        user_pseudo_id""",
    "clickstream_ods_event_attr_view": """event_id, event_name, event_date, event_parameter_key,
        event_parameter_value""",
    "clickstream_user_dim_view": """user_pseudo_id, user_id, first_visit_date,
        first_visit_install_source, first_visit_device_language, first_platform,
        first_visit_country, first_visit_city, first_traffic_source_source,
        first_traffic_source_medium, first_traffic_source_name, is_registered""",
    "clickstream_user_attr_view": "user_pseudo_id, user_id, custom_attr_key, custom_attr_value",
    "clickstream_session_view": """session_id, user_pseudo_id, platform, session_duration,
        session_views, engaged_session, bounced_session, session_start_timestamp,
        session_engagement_time, session_date, session_date_hour, entry_view, exit_view""",
    "clickstream_retention_view": "first_date, day_diff, returned_user_count, total_users",
    "clickstream_lifecycle_daily_view": "time_period, this_day_value, sum",
    "clickstream_lifecycle_weekly_view": "time_period, this_week_value, sum",
    "clickstream_path_view": """user_pseudo_id, event_date, event_id, event_name, event_timestamp,
        platform, session_id, current_screen, event_rank, previous_event, next_event,
        previous_screen, next_screen""",
    "clickstream_device_view": """device_id, event_date, mobile_brand_name, mobile_model_name,
        manufacturer, screen_width, screen_height, carrier, network_type, operating_system,
        operating_system_version, ua_browser, ua_browser_version, ua_os, ua_os_version, ua_device,
        ua_device_category, system_language, time_zone_offset_seconds, advertising_id,
        user_pseudo_id, user_id, usage_num""",
}

VIEWS = tuple(COLUMNS)

REPORT_VIEWS = (
    "clickstream_active_users",
    "clickstream_active_users_calendar",
    "clickstream_acquisition_daily",
    "clickstream_acquisition_users",
    "clickstream_activity_events",
    "clickstream_activity_rolling",
    "clickstream_days",
    "clickstream_device_usage",
    "clickstream_funnels",
    "clickstream_retention_rate",
)

DAILY_REPORTS = (
    "clickstream_active_users_daily",
    "clickstream_activity_daily",
    "clickstream_engagement_daily",
    "clickstream_engagement_overall_daily",
    "clickstream_funnel_daily",
    "clickstream_path_transition_daily",
    "clickstream_retention_daily",
)
"""Tables, with a row's load beside what they tell."""
