select
    app_id,
    first_visit_date as report_date,
    first_platform,
    first_visit_install_source as first_install_source,
    first_visit_device_language,
    first_visit_country,
    first_visit_city,
    first_traffic_source_source,
    first_traffic_source_medium,
    first_traffic_source_name,
    count(*) as new_users,
    cast(sum(case when is_registered = 'Registered' then 1 else 0 end) as bigint)
        as registered_users
from {{ ref("clickstream_user_dim_view") }}
group by {{ range(1, 11) | join(", ") }}
