{{ config(
    meta={
        "description": "Everyone is there on day 0, and never more than everyone later.",
        "dagster": {"ref": {"name": "clickstream_retention_view"}},
    },
) }}
with cohorts as (
    select app_id, first_active_date as first_date, count(*) as users
    from {{ ref("clickstream_user_base") }}
    group by app_id, first_active_date
)

select c.app_id, c.first_date, c.users, r.day_diff, r.returned_user_count, r.total_users
from cohorts as c
left join {{ ref("clickstream_retention_view") }} as r
    on c.app_id = r.app_id and c.first_date = r.first_date
where
    {{ only_when_everything_is_tested() }}
    and (
        coalesce(r.total_users, 0) <> c.users
        or r.returned_user_count > r.total_users
        or (r.day_diff = 0 and r.returned_user_count <> r.total_users)
    )
