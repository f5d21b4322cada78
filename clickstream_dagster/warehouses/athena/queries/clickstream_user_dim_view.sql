-- Users of an app whose first visit is from one day to another.
select
    app_id,
    user_pseudo_id,
    user_id,
    first_visit_date,
    first_visit_install_source,
    first_visit_device_language,
    first_platform,
    first_visit_country,
    first_visit_city,
    first_traffic_source_source,
    first_traffic_source_medium,
    first_traffic_source_name,
    is_registered
from clickstream_user_dim_view
where
    app_id = ?
    and first_visit_date between cast(? as date) and cast(? as date)
