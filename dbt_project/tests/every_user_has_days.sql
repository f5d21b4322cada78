{{ config(
    meta={
        "description": "A user is in the user base for as long as there is a day with an event of "
        ~ "theirs, and no longer.",
        "dagster": {"ref": {"name": "clickstream_user_base"}},
    },
) }}
select
    u.app_id as app_id_of_user,
    d.app_id as app_id_of_day,
    coalesce(u.user_pseudo_id, d.user_pseudo_id) as user_pseudo_id
from {{ ref("clickstream_user_base") }} as u
full outer join (
    select distinct app_id, user_pseudo_id
    from {{ ref("clickstream_user_day_base") }}
) as d
    on u.app_id = d.app_id and u.user_pseudo_id = d.user_pseudo_id
where
    (u.user_pseudo_id is null or d.user_pseudo_id is null)
    and {{ only_when_everything_is_tested() }}
