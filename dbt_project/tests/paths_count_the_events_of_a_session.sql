{{ config(
    meta={
        "description": "The last event of a session has the number of its events as its place; looked at "
        ~ "are the sessions that the last load has written, each whole.",
        "dagster": {"ref": {"name": "clickstream_path_base"}},
    },
) }}
select
    app_id,
    session_key,
    user_pseudo_id
from {{ ref("clickstream_path_base") }}
where {{ days_to_test(ref("clickstream_path_base"), "load_id") }}
group by app_id, session_key, user_pseudo_id
having max(event_rank) <> count(*)
