select
    app_id,
    first_date,
    day_diff,
    cast({{ dbt.dateadd("day", "day_diff", "first_date") }} as date) as report_date,
    returned_user_count,
    total_users,
    {{ ratio("returned_user_count", "total_users") }} as retention_rate
from {{ ref("clickstream_retention_view") }}
