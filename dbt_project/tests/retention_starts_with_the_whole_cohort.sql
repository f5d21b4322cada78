-- Everyone is there on day 0, and never more than everyone later.
select *
from {{ ref("clickstream_retention_view") }}
where
    {{ only_when_everything_is_tested() }}
    and (
        returned_user_count > total_users
        or (day_diff = 0 and returned_user_count <> total_users)
    )
