{{ config(
    enabled=target.type == "redshift",
    meta={
        "description": "Redshift: on each day, the event base has the events of the loads that it has "
        ~ "noted. Days that have expired, and those that a later load has taken events "
        ~ "from, can't be compared.",
        "dagster": {"ref": {"name": "clickstream_event_base"}},
    },
) }}
{%- set events = ref("clickstream_event_base") %}
{%- set noted -%}
    (select max(load_id) from {{ ledger("state") }} where model = 'clickstream_event_base')
{%- endset %}
{%- set compared -%}
    {{ days_to_test(events, "event_date") }}
    and event_date >= (
        select coalesce(max(before), date '0001-01-01') from {{ of_loader("expiry") }}
    )
    and event_date not in (
        select event_date from {{ of_loader("gone") }} where load_id > {{ noted }}
    )
{%- endset %}
with loaded as (
    select app_id, event_date, count(*) as events
    from {{ source("lake", "ods_event") }}
    where load_id <= {{ noted }} and {{ compared }}
    group by app_id, event_date
),

held as (
    select app_id, event_date, count(*) as events
    from {{ events }}
    where {{ compared }}
    group by app_id, event_date
)

select
    coalesce(loaded.app_id, held.app_id) as app_id,
    coalesce(loaded.event_date, held.event_date) as event_date,
    loaded.events as loaded_events,
    held.events
from loaded
full outer join held on loaded.app_id = held.app_id and loaded.event_date = held.event_date
where coalesce(loaded.events, 0) <> coalesce(held.events, 0)
